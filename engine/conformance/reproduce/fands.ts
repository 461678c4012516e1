/**
 * F&S (Rubin, Agarwal, Cai, Agarwal: Fast & Safe IO memory protection, SOSP'24): misses of the IOTLB and of the paging-structure caches
 * for each 4 KiB received, and the rate, by flows and by size of the rings, under strict invalidation; and the same with the authors'
 * remedy, one range of IOVA for each descriptor and the invalidation hint given, which is reported and does not count.
 *
 * What makes the figures here. Senders fill the adapter's buffer until packets are dropped; the more flows, the smaller their windows and
 * the more is lost. What comes behind a lost packet is held until that is sent again, for a retransmission time-out of 200 ms where
 * windows are small. The driver's cache of mapped pages is first in, first out: a held page at its head stops it, and every page is
 * then unmapped and invalidated; with one flow a core nearly every page comes back mapped, and what is invalidated are
 * acknowledgements. An invalidation without the hint empties whole sets, so that pages in use must be looked up again. IOVA lie
 * scattered over the page tables of all that the machine has ever had mapped: larger rings, more tables than the cache holds.
 * Calibrated on these curves: pages once mapped for sending, ways of the IOTLB, the adapter's buffer, distance of free ranges. The
 * authors' own fit gives the time of a table read.
 * Unexplained: why a walk takes four times what pcie-bench's curves say (both presets are shipped).
 */
import { FANDS_PARAMETERS, FandsMachine, type ReceiveFigures, type ReceiveMode } from './fandsMachine.ts';
import type { FandsReference } from './referenceFile.ts';
import type { ReproducedPoint } from './report.ts';
import type { ReproduceOptions } from './reproduce.ts';

type Columns = NonNullable<FandsReference['flows']>;
type ColumnName = Exclude<keyof Columns, 'x'>;

/** Packets until caches, rings, windows and the kernel's caches of addresses are as they stay. */
const WARM_UP = 20_000;
const WARM_UP_PER_RING_PACKET = 20;
const WARM_UP_PER_FLOW = 2_000;
const MEASURED = 60_000;

const MISSES = ['iotlb', 'l1', 'l2', 'l3'] as const;
const PER_PAGE = 'misses a page';
/** What the authors give for their remedy: at least two tables for each descriptor of 64 pages, at most 0.06. */
const REMEDY_BOUNDS = ['>0.03', '<0.06'] as const;

export function reproduceFands(reference: FandsReference, options: ReproduceOptions): void {
  const { flows, ring } = reference;
  const { flowsOtherwise, ringOtherwise } = FANDS_PARAMETERS;
  const measured = new Map<string, ReceiveFigures>();
  if (flows !== undefined) reproduceSweep('flows', flows, (x) => [x, ringOtherwise], options, measured);
  if (ring !== undefined) reproduceSweep('ring', ring, (x) => [flowsOtherwise, x], options, measured);
}

function reproduceSweep(
  name: string,
  columns: Columns,
  settingOf: (x: number) => readonly [flows: number, ring: number],
  { system, onSeries }: ReproduceOptions,
  measured: Map<string, ReceiveFigures>,
): void {
  if (system !== null && !name.startsWith(system)) return;
  const figures = (mode: ReceiveMode): ReceiveFigures[] =>
    columns.x.map((x) => {
      const [flows, ring] = settingOf(x);
      const key = `${mode} ${String(flows)} ${String(ring)}`;
      const known = measured.get(key);
      if (known !== undefined) return known;
      const warmUp = WARM_UP + WARM_UP_PER_RING_PACKET * ring + WARM_UP_PER_FLOW * flows;
      const found = new FandsMachine(flows, ring, mode).measure(warmUp, MEASURED);
      measured.set(key, found);
      return found;
    });
  const report = (
    series: string,
    unit: string,
    counted: boolean,
    models: readonly number[],
    references: readonly (number | string)[] | undefined,
  ): void => {
    if (references === undefined) return;
    const points = models.map((model, index): ReproducedPoint => {
      return { x: String(columns.x[index]), model, reference: references[index]! };
    });
    if (points.length > 0) onSeries({ name: `${name} ${series}`, unit, xName: name, counted, points });
  };
  const column = (key: ColumnName): readonly number[] | undefined => columns[key];
  const strict = figures('strict');
  for (const key of MISSES) {
    const models = strict.map((one) => one[key]);
    report(key, PER_PAGE, true, models, column(key));
  }
  const strictRates = strict.map(({ gbps }) => gbps);
  report('strict_gbps', 'Gb/s', true, strictRates, column('strict_gbps'));

  const remedy = figures('fands');
  const remedyRates = remedy.map(({ gbps }) => gbps);
  report('fands_gbps', 'Gb/s', false, remedyRates, column('fands_gbps'));
  const none = columns.x.map(() => 0);
  for (const key of ['l1', 'l2'] as const) {
    const models = remedy.map((one) => one[key]);
    report(`fands ${key}`, PER_PAGE, false, models, none);
  }
  const tables = remedy.map(({ l3 }) => l3);
  for (const bound of REMEDY_BOUNDS) {
    const bounds = columns.x.map(() => bound);
    report(`fands l3 ${bound}`, PER_PAGE, false, tables, bounds);
  }
}
