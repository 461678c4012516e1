/**
 * Page faults of devices rerun: an adapter that pages on demand (Lesokhin et al., "Page Fault Support for Network Controllers",
 * ASPLOS'17), the same message if the adapter asked page by page, and faults that stall in the SMMU of a Kunpeng 920. The time is
 * that from a missing page until the device goes on, over a whole message; the reference's values are only compared with.
 * Leaves out: memory that the process has not touched; page requests of guests.
 *
 * Names of points: a size (`64KiB`), the whole message in faults of at most what the adapter takes at once;
 * `ats_pri_one_page_SIZE`, one page a request; `SIZE_batch_N`, faults of at most N pages.
 */
import { LabError } from '../../time/labError.ts';
import { MOST_PAGES_PER_FAULT, onDemandPaging, pageRequests, stalledFaults } from './pageFaultHosts.ts';
import type { PageFaultsReference } from './referenceFile.ts';
import type { ReproducedPoint, ReproducedSeries } from './report.ts';
import type { ReproduceOptions } from './reproduce.ts';

const POINT = /^(?<paging>ats_pri_one_page_)?(?<size>\d{1,9})(?<unit>B|KiB|MiB)(?:_batch_(?<batch>\d{1,6}))?$/;
const UNITS: Readonly<Record<string, number>> = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20 };
const LARGEST_MESSAGE = 2 ** 28;
/** Of the message whose faults stall: as many pages as in the first of the published runs. */
const STALLED_BYTES = 512 * 4096;

export function reproduceOdpFaults(reference: PageFaultsReference, options: ReproduceOptions): void {
  for (const series of [pagingSeries, stallSeries]) {
    const name = series === pagingSeries ? 'ConnectX' : 'Kunpeng 920';
    if (options.system !== null && !name.startsWith(options.system)) continue;
    const rerun = series(name, reference);
    if (rerun.points.length > 0) options.onSeries(rerun);
  }
}

function pagingSeries(name: string, { npf_asplos17_us: measured = {} }: PageFaultsReference): ReproducedSeries {
  const points = Object.entries(measured).map(([x, value]): ReproducedPoint => ({
    x,
    model: timeOf(x),
    reference: value,
  }));
  return { name, unit: 'us', xName: 'message', counted: true, points };
}

function stallSeries(name: string, reference: PageFaultsReference): ReproducedSeries {
  const measured = reference.kunpeng920_sva_stall_us_per_fault_derived;
  const points: ReproducedPoint[] = [];
  if (measured !== undefined) {
    const { microseconds, faults } = stalledFaults(STALLED_BYTES);
    points.push({ x: 'stall', model: microseconds / faults, reference: measured });
  }
  return { name, unit: 'us a fault', xName: 'kind', counted: true, points };
}

function timeOf(x: string): number {
  const groups = POINT.exec(x)?.groups;
  const bytes = Number(groups?.['size']) * (UNITS[groups?.['unit'] ?? ''] ?? NaN);
  const batch = groups?.['batch'] === undefined ? MOST_PAGES_PER_FAULT : Number(groups['batch']);
  if (!(bytes >= 1 && bytes <= LARGEST_MESSAGE) || batch < 1) {
    throw new LabError(
      `iopf.npf_asplos17_us.${x}`,
      'this names no message that can be run.',
      'Name a size of 1 B to 256 MiB such as "64KiB", "ats_pri_one_page_64KiB" or "1MiB_batch_16".',
    );
  }
  return groups?.['paging'] === undefined
    ? onDemandPaging(bytes, batch).microseconds
    : pageRequests(bytes, 1).microseconds;
}
