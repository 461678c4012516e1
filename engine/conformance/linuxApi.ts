/**
 * The suite `linux-api`: replays recordings of single DMA API calls, made inside real kernels by a test module, and compares
 * every field and every event of every call. A record agrees when all of it does.
 * What the recording decides: where its pages lay, where coherent memory and the first bounce buffer were found, how the
 * device's domain was numbered, when a timer came, and whether timers stayed on the CPU that armed them. All else is the emulator's.
 */
import { kernelProfile } from '../dma/kernels/profiles.ts';
import { LabError } from '../time/labError.ts';
import { bouncePages, bouncePools } from './linuxApiBounce.ts';
import { comparableEvents, ApiEventTrace, eventAsValue, recordedDomainId } from './linuxApiEvents.ts';
import type { ApiFiles } from './linuxApiFiles.ts';
import { recordingText } from './recordingText.ts';
import { ApiMachine } from './linuxApiMachine.ts';
import { CommandReader, type PageRun, pageSet } from './linuxApiObjects.ts';
import { type ApiRecord, parseRecords } from './linuxApiRecord.ts';
import { ApiReplay } from './linuxApiReplay.ts';
import { readApiSystem } from './linuxApiSystem.ts';
import { UnpredictableRecords } from './linuxApiUnpredictable.ts';
import { type ApiFields, describeValue, differenceOf } from './linuxApiValue.ts';
import { API_WORDS, INPUT_WORDS, QUIET_WORDS } from './linuxApiWords.ts';
import type { Difference, FileResult } from './report.ts';

export const LINUX_API_SUITE = 'linux-api';

const SHOWN_COMMAND = 120;

/** Replays one recording. Bad input throws a LabError that names the line. */
export function conformApiRecording(files: ApiFiles): FileResult {
  const system = readApiSystem(files.name, files.runJson, files.iomem);
  const records = parseRecords(files.name, recordingText(files.name, files.recording, 'DMA API calls'));
  const pools = bouncePools(system, records);
  const domainId = recordedDomainId(records);
  const used = [...usedPages(files.name, records), bouncePages(system, pools)];
  // On which of several CPUs a timer ran is not recorded.
  const timersMayMove = system.cpus > 1 && system.domain === 'lazy';
  let best: Replayed | null = null;
  for (const timerFollowsCaller of timersMayMove ? [false, true] : [false]) {
    for (const pool of pools) {
      const trace = new ApiEventTrace(!kernelProfile(system.profile).domainFlushTracesRange, domainId);
      const replay = new ApiReplay(new ApiMachine(system, used, pool, trace), trace, timerFollowsCaller);
      const replayed = replayRecords(files.name, replay, records, best?.differsIn ?? null);
      if (replayed === null) continue;
      best = replayed;
      // A pool in the wrong place shows first in a call that bounces.
      if (best.differsIn?.events?.some((event) => event.name === 'bounce') !== true) break;
    }
    if (best !== null && best.differsIn === null) break;
  }
  if (best === null) throw new Error('there is no place for the bounce buffers');
  return best.result;
}

interface Replayed {
  readonly result: FileResult;
  /** The first record that differs. */
  readonly differsIn: ApiRecord | null;
}

/** Null: it differs as early as `before`, where another replay did. */
function replayRecords(
  file: string,
  replay: ApiReplay,
  records: readonly ApiRecord[],
  before: ApiRecord | null,
): Replayed | null {
  const unpredictable = new UnpredictableRecords(file, replay.machine.system, records);
  const skipped = new Map<string, number>();
  let agree = 0;
  let total = 0;
  let firstDifference: Difference | null = null;
  let differsIn: ApiRecord | null = null;
  let index = records[0]?.index ?? 0;
  for (const record of records) {
    const exempt = unpredictable.of(record);
    let difference = exempt?.replayed === false ? null : replayRecord(file, replay, record);
    if (exempt?.compared === false) difference = null;
    if (record.index !== index) {
      difference = { ...place(record), recorded: `number ${record.index}`, emulated: `number ${index} is next` };
    }
    index = record.index + 1;
    if (exempt !== null && difference === null) {
      skipped.set(exempt.reason, (skipped.get(exempt.reason) ?? 0) + 1);
      continue;
    }
    total += 1;
    if (difference === null) {
      agree += 1;
    } else if (firstDifference === null) {
      firstDifference = difference;
      differsIn = record;
      if (before !== null && record.line <= before.line) return null;
    }
  }
  const reasons = [...skipped].map(([reason, count]) => ({ reason, count }));
  return { result: { name: file, agree, total, firstDifference, skipped: reasons }, differsIn };
}

/** Makes the call and compares all of it; null: it agrees. */
function replayRecord(file: string, replay: ApiReplay, record: ApiRecord): Difference | null {
  const word = API_WORDS.get(record.word);
  if (word === undefined) {
    return { ...place(record), recorded: `a call "${record.word}"`, emulated: 'no such call is known' };
  }
  const { trace } = replay;
  const recordedEvents = comparableEvents(record.events ?? []);
  let fields: ApiFields;
  try {
    trace.begin(recordedEvents, () => {
      replay.fireTimer();
    });
    fields = word(replay, new CommandReader(file, record));
    replay.noteTimer();
  } catch (error) {
    if (error instanceof LabError && error.where.startsWith(file)) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    return { ...place(record), recorded: 'a call that returned', emulated: `the emulated call failed: ${reason}` };
  }
  const quiet = QUIET_WORDS.has(record.word);
  const recorded = { ...record.fields, ...(record.events === null ? {} : { ev: recordedEvents.map(eventAsValue) }) };
  const emulated = { ...fields, ...(quiet && trace.events.length === 0 ? {} : { ev: trace.events.map(eventAsValue) }) };
  const found = differenceOf(recorded, emulated);
  if (found === null) return null;
  return {
    ...place(record),
    recorded: `${found.path} = ${describeValue(found.recorded)}${context(found.path, recorded)}`,
    emulated: `${found.path} = ${describeValue(found.emulated)}${context(found.path, emulated)}`,
  };
}

/** Of an event that differs, the whole list says more than the place alone. */
function context(path: string, fields: ApiFields): string {
  return path.startsWith('ev') && path !== 'ev' ? ` in ${describeValue(fields['ev'])}` : '';
}

function place(record: ApiRecord): { readonly line: number; readonly unit: string } {
  const { command } = record;
  const shown = command.length > SHOWN_COMMAND ? `${command.slice(0, SHOWN_COMMAND)}...` : command;
  return { line: record.line, unit: `record ${record.index} (${shown})` };
}

/** Where the recording's own pages lie, so that the emulator's tables keep out of the way. */
function usedPages(file: string, records: readonly ApiRecord[]): PageRun[] {
  return records
    .filter((record) => INPUT_WORDS.has(record.word))
    .flatMap((record) => pageSet(new CommandReader(file, record)).set.runs);
}
