/**
 * What a request costs its CPU outside the DMA API: block layer and NVMe driver. In published figures one saturated CPU does
 * 5.01 M reads a second in passthrough, polled, which leaves 0.20 us for everything; the split between submission and
 * completion is assumed, and an interrupt comes on top, since a poller has none.
 * Leaves out: system calls and context switches of the submitting program.
 */
import type { Picoseconds } from '../time/picoseconds.ts';
import { resolveDriverCosts, type DriverCostParameter } from './driverCosts.ts';

export const NVME_COST_NAMES = ['nvmeSubmitRequest', 'nvmeCompleteRequest', 'nvmeInterrupt', 'nvmeDoorbell'] as const;
export type NvmeCostName = (typeof NVME_COST_NAMES)[number];

export type NvmeCostParameter = DriverCostParameter<NvmeCostName>;

const PUBLISHED_IOPS =
  '5.01 M IOPS on one CPU, Optane, io_uring polled, passthrough (linux-nvme, Nov 2025): 0.20 us per I/O';

const PARAMETERS: readonly NvmeCostParameter[] = [
  {
    name: 'nvmeSubmitRequest',
    value: 90,
    unit: 'ns',
    source: PUBLISHED_IOPS,
    mark: 'derived',
    help: 'bio, request and submission queue entry, without the DMA API',
  },
  {
    name: 'nvmeCompleteRequest',
    value: 60,
    unit: 'ns',
    source: PUBLISHED_IOPS,
    mark: 'derived',
    help: 'completion queue entry and the end of the bio, without the DMA API',
  },
  {
    name: 'nvmeInterrupt',
    value: 400,
    unit: 'ns',
    source: 'entry and exit of a hardware interrupt on x86; no published figure was found for this driver',
    mark: 'assumed',
    help: 'each interrupt, however many completions it finds',
  },
  {
    name: 'nvmeDoorbell',
    value: 30,
    unit: 'ns',
    source: PUBLISHED_IOPS,
    mark: 'derived',
    help: 'each doorbell: a posted write to the drive, as the CPU sees it',
  },
];

export type NvmeCosts = Readonly<Record<NvmeCostName, Picoseconds>>;

export function nvmeCostParameters(): readonly NvmeCostParameter[] {
  return PARAMETERS;
}

/** Overrides replace values by name, in ns. */
export function resolveNvmeCosts(overrides: Readonly<Partial<Record<NvmeCostName, number>>> = {}): NvmeCosts {
  return resolveDriverCosts(PARAMETERS, overrides);
}
