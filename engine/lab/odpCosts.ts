/**
 * What on-demand paging costs the CPU outside the DMA API, and what an update of the adapter's table takes. Defaults are those that reproduce
 * published page-fault latencies (`reproduce odp-faults`).
 */
import preset from '../../fixtures/presets/hardware/page-faults.json' with { type: 'json' };
import { resolveDriverCosts, type DriverCostParameter } from '../drivers/driverCosts.ts';
import type { OdpWorkloadCosts } from '../workloads/odp.ts';

const ODP_COST_NAMES = [
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
export function resolveOdpCosts(overrides: Readonly<Partial<Record<OdpCostName, number>>>): OdpWorkloadCosts {
  const costs = resolveDriverCosts(PARAMETERS, overrides);
  return {
    faultEntry: costs.odpFaultEntry,
    rangeFaultPerPage: costs.odpRangeFaultPerPage,
    minorFault: costs.odpMinorFault,
    majorFault: costs.odpMajorFault,
    advise: costs.odpAdvise,
    createKey: costs.odpCreateKey,
    tableUpdate: costs.nicTableUpdate,
    tableUpdatePerEntry: costs.nicTableUpdatePerEntry,
  };
}
