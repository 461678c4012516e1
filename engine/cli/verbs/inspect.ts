/** `lab inspect`: the IOVA space of one column at a moment, computed up to it. */
import { IOVA_STATES, type IovaRange, type IovaSnapshot } from '../../lab/iovaNames.ts';
import { IovaInspection } from '../../lab/iovaInspection.ts';
import { formatTime, parseTime } from '../../lab/quantity.ts';
import { LabError } from '../../time/labError.ts';
import { openLab } from '../openLab.ts';
import { EXIT, ProgressLine, print, printJson, type ExitStatus } from '../output.ts';

export interface InspectVerbOptions {
  readonly run?: string;
  readonly at: string;
  readonly json?: true;
}

const SLICE = 20_000;
const PAGE_BYTES = 4096;

export async function inspectVerb(path: string, options: InspectVerbOptions): Promise<ExitStatus> {
  const at = parseTime(options.at);
  if (at === null)
    throw new LabError(`--at ${options.at}`, 'this is no time.', 'Write a number and a unit, as in 1.5ms or 800us.');
  const { lab, recordings } = await openLab(path);
  const column = options.run ?? lab.comparison[0]?.id ?? '';
  const inspection = IovaInspection.prepare(lab, column, recordings, at, null);
  const progress = new ProgressLine();
  while (inspection.advance(SLICE) === 'running')
    if (progress.due) progress.show(`${formatTime(inspection.reached)} of ${formatTime(at)}`);
  progress.clear();
  const snapshot = inspection.snapshot();
  if (options.json) printJson({ lab: lab.name, run: column, ...snapshot });
  else for (const line of snapshotLines(snapshot)) print(line);
  return EXIT.fine;
}

function snapshotLines({ at, device, translated, totals, ranges }: IovaSnapshot): string[] {
  const head = `${device} at ${formatTime(at)}`;
  if (!translated) return [`${head}: addresses are physical ones, so there is no IOVA space`];
  const sums = IOVA_STATES.map((state) => `${totals[state].ranges} ${state} (${totals[state].pages} pages)`);
  return [`${head}: ${sums.join(', ')}`, ...ranges.map((range) => rangeLine(range, at))];
}

function rangeLine({ firstPage, pages, state, call, bytes, cpu, since }: IovaRange, at: number): string {
  const address = `0x${(firstPage * PAGE_BYTES).toString(16)}`;
  const owner = call === null ? '' : `  ${call} of ${bytes} bytes`;
  const place = cpu < 0 ? '' : `  CPU ${cpu}`;
  const age = state === 'reserved' ? '' : `  since ${formatTime(since)} (${formatTime(at - since)})`;
  return `${address.padEnd(14)} ${String(pages).padStart(5)} pages  ${state.padEnd(8)}${owner}${place}${age}`;
}
