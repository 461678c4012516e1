/**
 * What on-demand paging costs the CPU outside the DMA API, and what an update of the adapter's table takes. Defaults are those that reproduce
 * published page-fault latencies (`reproduce odp-faults`).
 */
import preset from '../../../fixtures/presets/hardware/page-faults.json' with { type: 'json' };
import type { Picoseconds } from '../../time/picoseconds.ts';
import { resolveDriverCosts, type DriverCostParameter } from '../driverCosts.ts';

export const ODP_COST_NAMES = [
  'odpFaultEntry',
  'odpRangeFaultPerPage',
  'odpMinorFault',
  'odpMajorFault',
  'odpAdvise',
  'odpCreateKey',
  'nicTableUpdate',
  'nicTableUpdatePerEntry',
] as const;
export type OdpCostName = (typeof ODP_COST_NAMES)[number];
export type OdpWorkloadCosts = Readonly<Record<OdpCostName, Picoseconds>>;

const NANOSECONDS_PER_MICROSECOND = 1000;

const PARAMETERS = ODP_COST_NAMES.map((name): DriverCostParameter<OdpCostName> => {
  const { value, unit, source, mark, help } = preset.parameters[name];
  return {
    name,
    value: unit === 'us' ? value * NANOSECONDS_PER_MICROSECOND : value,
    unit: 'ns',
    source,
    mark: mark as DriverCostParameter['mark'],
    help,
  };
});

export function odpCostParameters(): readonly DriverCostParameter<OdpCostName>[] {
  return PARAMETERS;
}

/** Overrides replace values by name, in ns. */
export function resolveOdpCosts(overrides: Readonly<Partial<Record<OdpCostName, number>>> = {}): OdpWorkloadCosts {
  return resolveDriverCosts(PARAMETERS, overrides);
}
