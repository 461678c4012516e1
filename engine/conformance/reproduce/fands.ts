/**
 * F&S (Rubin, Agarwal, Cai, Agarwal: Fast & Safe IO memory protection, SOSP'24): misses of the IOTLB and of the paging-structure caches
 * for each 4 KiB received, and the rate, by flows and by size of the rings, under strict invalidation; and the same with the authors'
 * remedy on the same kernel, one range of IOVA for each descriptor and the invalidation hint given, of which the misses must lie in the
 * bounds that the authors give and the rate does not count.
 *
 * What makes the figures here. Senders fill the adapter's buffer until packets are dropped; the more flows, the smaller their windows and
 * the more is lost. What comes behind a lost packet is held until that is sent again, for a retransmission time-out of 200 ms where
 * windows are small. The driver's cache of mapped pages is first in, first out: a held page at its head stops it, and every page is
 * then unmapped and invalidated; with one flow a core nearly every page comes back mapped, and what is invalidated are
 * acknowledgements. An invalidation without the hint empties whole sets, so that pages in use must be looked up again. IOVA lie
 * scattered over the page tables of all that the machine has ever had mapped: larger rings, more tables than the cache holds.
 * Calibrated on these curves: pages once mapped for sending, ways of the caches, the adapter's buffer, distance of free ranges. The
 * authors' own fit gives the time of a table read.
 * Each figure is the mean of hosts that differ by chance alone: at 15 to 30 flows a ring stays blocked or free for longer than a run.
 * The remedy never keeps a page mapped (its patch gives every page back without recycling), so that one or two flows, which their cores
 * hold back and not the IOMMU, are slower with it by what mapping takes.
 * Unexplained: why a walk takes four times what pcie-bench's curves say (both presets are shipped).
 */
import {
  FANDS_PARAMETERS,
  FandsMachine,
  RECEIVE_MODES,
  type ReceiveFigures,
  type ReceiveMode,
} from './fandsMachine.ts';
import type { FandsReference } from './referenceFile.ts';
import type { ReproducedSeries } from './report.ts';
import type { ReproduceOptions } from './reproduce.ts';

type Columns = NonNullable<FandsReference['flows']>;

/** Packets until caches, rings, windows and the kernel's caches of addresses are as they stay. */
const WARM_UP = 60_000;
const WARM_UP_PER_RING_PACKET = 20;
const WARM_UP_PER_FLOW = 1_000;
const MEASURED = 60_000;
/** Hosts that differ by chance alone: which senders wait for a time-out holds for longer than one of them is measured. */
const HOSTS = 4;

const MISSES = ['iotlb', 'l1', 'l2', 'l3'] as const;
const PER_PAGE = 'misses a page';
/** What the authors give for their remedy: at least two tables for each descriptor of 64 pages, at most 0.06. */
const LEAST_TABLES = '>0.03';
const MOST_TABLES = '<0.06';

/** A run with so many flows, and packets of a ring. */
type Measure = (flows: number, ring: number, mode: ReceiveMode) => ReceiveFigures;

/** `hosts`: of how many each figure is the mean. */
export function reproduceFands(reference: FandsReference, options: ReproduceOptions, hosts = HOSTS): void {
  const { flowsOtherwise, ringOtherwise } = FANDS_PARAMETERS;
  const { flows, ring } = reference;
  const measure = measureOnce(options, hosts);
  const sweep = (name: string, columns: Columns | undefined, at: (x: number, mode: ReceiveMode) => ReceiveFigures) => {
    if (columns === undefined || (options.system !== null && !name.startsWith(options.system))) return;
    for (const series of fandsSeries(name, columns, at)) options.onSeries(series);
  };
  sweep('flows', flows, (x, mode) => measure(x, ringOtherwise, mode));
  sweep('ring', ring, (x, mode) => measure(flowsOtherwise, x, mode));
}

/** A host that both sweeps ask for is measured once. */
function measureOnce({ onProgress }: ReproduceOptions, hosts: number): Measure {
  const measured = new Map<string, ReceiveFigures>();
  return (flows, ring, mode) => {
    const key = `${mode}, ${String(flows)} flows, rings of ${String(ring)}`;
    const known = measured.get(key);
    if (known !== undefined) return known;
    onProgress?.(key);
    const warmUp = WARM_UP + WARM_UP_PER_RING_PACKET * ring + WARM_UP_PER_FLOW * flows;
    const found = meanOf(
      Array.from({ length: hosts }, (_, host) =>
        new FandsMachine(flows, ring, RECEIVE_MODES[mode], host + 1).measure(warmUp, MEASURED),
      ),
    );
    measured.set(key, found);
    return found;
  };
}

function meanOf(hosts: readonly ReceiveFigures[]): ReceiveFigures {
  const mean = (key: keyof ReceiveFigures): number => hosts.reduce((sum, host) => sum + host[key], 0) / hosts.length;
  return {
    iotlb: mean('iotlb'),
    l1: mean('l1'),
    l2: mean('l2'),
    l3: mean('l3'),
    gbps: mean('gbps'),
    acknowledgements: mean('acknowledgements'),
    unmaps: mean('unmaps'),
    drops: mean('drops'),
  };
}

/** What is compared of one sweep; the remedy's rate is reported only. */
export function* fandsSeries(
  xName: string,
  columns: Columns,
  at: (x: number, mode: ReceiveMode) => ReceiveFigures,
): Generator<ReproducedSeries> {
  const compare = (
    mode: ReceiveMode,
    key: keyof ReceiveFigures,
    references: readonly (number | string)[],
    name = `${xName} ${key}`,
    unit = PER_PAGE,
  ): ReproducedSeries => ({
    name,
    unit,
    xName,
    counted: name !== `${xName} fands_gbps`,
    points: columns.x.map((x, index) => ({ x: String(x), model: at(x, mode)[key], reference: references[index]! })),
  });
  for (const key of MISSES) if (columns[key] !== undefined) yield compare('strict', key, columns[key]);
  for (const mode of ['strict', 'fands'] as const) {
    const rates = columns[`${mode}_gbps`];
    if (rates !== undefined) yield compare(mode, 'gbps', rates, `${xName} ${mode}_gbps`, 'Gb/s');
  }
  const everywhere = <Value>(value: Value): Value[] => columns.x.map(() => value);
  for (const key of ['l1', 'l2'] as const) yield compare('fands', key, everywhere(0), `${xName} fands ${key}`);
  // with fewer flows than cores the cache holds the tables of all rings in use
  const least = compare('fands', 'l3', everywhere(LEAST_TABLES), `${xName} fands l3 ${LEAST_TABLES}`);
  const busy = least.points.filter(({ x }) => xName !== 'flows' || Number(x) >= FANDS_PARAMETERS.cores);
  if (busy.length > 0) yield { ...least, points: busy };
  yield compare('fands', 'l3', everywhere(MOST_TABLES), `${xName} fands l3 ${MOST_TABLES}`);
}
