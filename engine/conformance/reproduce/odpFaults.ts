/**
 * Page faults of devices rerun: an adapter that pages on demand (Lesokhin et al., "Page Fault Support for Network Controllers",
 * ASPLOS'17), the same message if the adapter asked page by page, and faults that stall in the SMMU of a Kunpeng 920. The time is
 * that from a missing page until the device goes on, over a whole message; the reference's values are only compared with.
 * Leaves out: memory that the process has not touched; page requests of guests.
 */
import { faultingMessage } from './messageNames.ts';
import { MOST_PAGES_PER_FAULT, onDemandPaging, pageRequests, stalledFaults } from './pageFaultHosts.ts';
import type { PageFaultsReference } from './referenceFile.ts';
import type { ReproducedPoint, ReproducedSeries } from './report.ts';
import type { ReproduceOptions } from './reproduce.ts';

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
  const message = faultingMessage(x);
  if (message === null) throw new Error('the file of curves was read with messages that can be run');
  const { bytes, batch } = message;
  return message.pageRequests
    ? pageRequests(bytes, 1).microseconds
    : onDemandPaging(bytes, batch ?? MOST_PAGES_PER_FAULT).microseconds;
}
