/**
 * `lab inspect`: one column at a moment, computed up to it: its IOVA space, or what an access to one address would meet, or what
 * the translation caches hold.
 */
import {
  IOVA_STATES,
  type CacheLook,
  type IovaRange,
  type IovaSnapshot,
  type WalkSnapshot,
} from '../../lab/momentNames.ts';
import { RunInspection } from '../../lab/runInspection.ts';
import { addressOf, parseIova } from '../../lab/iovaText.ts';
import { exactTime, formatTime, parseTime } from '../../lab/quantity.ts';
import {
  accessWords,
  entryWords,
  entryPlace,
  heldEntries,
  outcomeWords,
  permissionText,
  remedyWords,
  sizeText,
  tablesTitle,
  total,
  type HeldEntry,
} from '../../lab/walkText.ts';
import { LabError } from '../../time/labError.ts';
import { openLab } from '../openLab.ts';
import { EXIT, ProgressLine, print, printJson, type ExitStatus } from '../output.ts';

export interface InspectVerbOptions {
  readonly run?: string;
  /** The id of a drive's part, or its PCI address. */
  readonly device?: string;
  readonly at: string;
  /** An address in hexadecimal. */
  readonly walk?: string;
  readonly write?: true;
  readonly iotlb?: true;
  readonly json?: true;
}

const SLICE = 20_000;

export async function inspectVerb(path: string, options: InspectVerbOptions): Promise<ExitStatus> {
  const at = parseTime(options.at);
  if (at === null)
    throw new LabError(`--at ${options.at}`, 'this is no time.', 'Write a number and a unit, as in 1.5ms or 800us.');
  const wanted = options.walk === undefined ? null : { iova: options.walk, write: options.write === true };
  if (wanted !== null && parseIova(wanted.iova) === null)
    throw new LabError(
      `--walk ${wanted.iova}`,
      'this is no address.',
      'Write up to 16 hexadecimal digits, as in 0xfffff000.',
    );
  if (wanted === null && options.write)
    throw new LabError(
      '--write',
      'there is no access to make a write.',
      'Give its address with --walk, or leave it out.',
    );
  const { lab, recordings } = await openLab(path);
  const column = options.run ?? lab.comparison[0]?.id ?? '';
  const inspection = RunInspection.prepare(lab, column, recordings, at, null);
  const progress = new ProgressLine();
  while (inspection.advance(SLICE) === 'running')
    if (progress.due) progress.show(`${formatTime(inspection.reached)} of ${formatTime(at)}`);
  progress.clear();
  const { end } = inspection;
  if (end !== null && at > end)
    throw new LabError(
      `--at ${options.at}`,
      `run "${column}" ends before, at ${exactTime(end)}.`,
      'Choose a moment from 0 to there.',
    );
  const { space, caches, walk } = inspection.snapshot(wanted, options.device ?? null);
  const named = { lab: lab.name, run: column };
  if (options.json) {
    const seen = {
      ...(wanted === null ? {} : { walk }),
      ...(options.iotlb ? { caches: caches.map(cacheRecord) } : {}),
    };
    printJson({ ...named, ...(Object.keys(seen).length === 0 ? space : { at, ...seen }) });
    return EXIT.fine;
  }
  const head = `${space.device} at ${formatTime(at)}`;
  if (wanted !== null)
    for (const line of walk === null ? [`${head}: there is no IOMMU`] : walkLines(head, walk)) print(line);
  if (options.iotlb) for (const cache of caches) for (const line of cacheLines(cache, at)) print(line);
  if (wanted === null && !options.iotlb) for (const line of snapshotLines(head, space)) print(line);
  return EXIT.fine;
}

function snapshotLines(head: string, { at, translated, totals, ranges }: IovaSnapshot): string[] {
  if (!translated) return [`${head}: addresses are physical ones, so there is no IOVA space`];
  const sums = IOVA_STATES.map((state) => `${totals[state].ranges} ${state} (${totals[state].pages} pages)`);
  return [`${head}: ${sums.join(', ')}`, ...ranges.map((range) => rangeLine(range, at))];
}

function rangeLine({ firstPage, pages, state, call, bytes, cpu, since }: IovaRange, at: number): string {
  const owner = call === null ? '' : `  ${call} of ${bytes} bytes`;
  const place = cpu < 0 ? '' : `  CPU ${cpu}`;
  const age = state === 'reserved' ? '' : `  since ${formatTime(since)} (${formatTime(Math.max(0, at - since))})`;
  return `${addressOf(firstPage).padEnd(14)} ${String(pages).padStart(5)} pages  ${state.padEnd(8)}${owner}${place}${age}`;
}

function walkLines(head: string, walk: WalkSnapshot): string[] {
  const { domainId, caches, entries, steps, ps, outcome } = walk;
  const titles = tablesTitle(walk);
  const tables = titles === '' ? '' : `, domain ${domainId}, ${titles}`;
  return [
    `${head}: ${accessWords(walk)}${tables}`,
    ...caches.map(({ cache, answer, note }) => `${cache.padEnd(24)} ${answer.padEnd(10)} ${note}`.trimEnd()),
    ...entries.flatMap((entry) => [
      `${entryPlace(walk, entry)}  ${entry.address}  index ${entry.index}  ${entry.bits}  ${entryWords(entry)}${entry.read ? '' : '  (not read)'}`,
      ...entry.fields
        .filter(({ name, value, meaning }) => meaning !== '' && (name !== 'ADDR' || value !== 0))
        .map(({ high, low, name, value, meaning }) => {
          const place = high === low ? String(high) : `${high}:${low}`;
          return `         ${place.padEnd(6)} ${name.padEnd(12)} 0x${value.toString(16)}  ${meaning}`;
        }),
    ]),
    ...steps.map(({ title, count, ps: spent, cost }) => {
      const from = cost === null ? 'others' : `${count} x ${cost.name} (${cost.value} ns, ${cost.mark})`;
      return `${title.padEnd(26)} ${formatTime(spent).padStart(9)}  ${from}`;
    }),
    `${'in all'.padEnd(26)} ${formatTime(ps).padStart(9)}`,
    outcomeWords(outcome),
    ...(remedyWords(outcome) === '' ? [] : [remedyWords(outcome)]),
  ];
}

function cacheRecord(cache: CacheLook): Record<string, unknown> {
  const { title, sets, ways, hits, evictions } = cache;
  return {
    title,
    sets,
    ways,
    entries: sets * ways,
    hits: total(hits),
    evictions: total(evictions),
    hitsBySet: [...hits],
    evictionsBySet: [...evictions],
    held: heldEntries(cache),
  };
}

function cacheLines(cache: CacheLook, at: number): string[] {
  const { title, sets, ways, hits, evictions } = cache;
  const held = heldEntries(cache);
  const sums = `${held.length} of ${sets * ways} entries held, ${total(hits)} hits, ${total(evictions)} evictions`;
  return [`${title}: ${sets} sets of ${ways} ways, ${sums}`, ...held.map((entry) => heldLine(entry, at))];
}

function heldLine(entry: HeldEntry, at: number): string {
  const { set, way, firstPage, pages, domainId, targetPage, permissions, filledAt, uses } = entry;
  const place = `  set ${String(set).padStart(4)} way ${String(way).padStart(3)}`;
  const page = `domain ${domainId}  ${addressOf(firstPage)}  ${sizeText(pages)} -> ${addressOf(targetPage)}`;
  const past = formatTime(Math.max(0, at - filledAt));
  const age = filledAt < 0 ? '' : uses < 0 ? `  since ${past}` : `  ${uses} uses in ${past}`;
  return `${place}  ${page}  ${permissionText(permissions)}${age}`;
}
