/**
 * Cost presets: named sets of parameters, each with unit, source and mark, resolved with a lab's overrides into what the
 * machine is built with. What the hardware takes stands in fixtures/presets, what the CPU takes in its folder kernel-costs:
 * one preset names both. Leaves out: structure (cache sizes, walkers, lanes), which belongs to the topology.
 */
import defaultPreset from '../../fixtures/presets/default.json' with { type: 'json' };
import fandsPreset from '../../fixtures/presets/fands-costs.json' with { type: 'json' };
import publishedPreset from '../../fixtures/presets/published.json' with { type: 'json' };
import {
  dmaCostParameters,
  resolveDmaCosts,
  type CostMark,
  type DmaCostName,
  type DmaCostPreset,
  type DmaCosts,
} from '../dma/kernels/costs.ts';
import type { KernelProfileName } from '../dma/kernels/profiles.ts';
import { nvmeCostParameters, resolveNvmeCosts, type NvmeCostName, type NvmeCosts } from '../drivers/nvmeCosts.ts';
import { rdmaCostParameters, resolveRdmaCosts, type RdmaCostName, type RdmaCosts } from '../drivers/rdma/rdmaCosts.ts';
import { nanoseconds, type Picoseconds } from '../time/picoseconds.ts';
import type { OdpWorkloadCosts } from '../workloads/odp.ts';
import type { LabProblem } from './check.ts';
import { suggestNames } from './nearestNames.ts';
import { odpCostParameters, resolveOdpCosts, type OdpCostName } from './odpCosts.ts';
import type { LabDocument } from './schema.ts';

export type HardwareCostName = keyof typeof defaultPreset.parameters;
/** What the hardware takes, picoseconds. */
export type HardwareCosts = Readonly<Record<HardwareCostName, Picoseconds>>;

export interface CostParameter {
  readonly name: string;
  readonly value: number;
  readonly unit: 'ns' | 'instructions';
  readonly source: string;
  readonly mark: CostMark;
  readonly help: string;
  readonly range?: readonly [number, number];
  /** True where the lab replaces the preset's value. */
  readonly overridden: boolean;
}

export interface CostPreset {
  readonly id: string;
  readonly title: string;
  readonly description: string;
  readonly dmaCosts: DmaCostPreset;
  readonly parameters: Readonly<Record<HardwareCostName, HardwareParameter>>;
}

interface HardwareParameter {
  readonly value: number;
  readonly unit: 'ns';
  readonly range: readonly [number, number];
  readonly mark: CostMark;
  readonly source: string;
  readonly help: string;
}

export const COST_PRESETS: readonly CostPreset[] = [
  defaultPreset as unknown as CostPreset,
  publishedPreset as unknown as CostPreset,
  fandsPreset as unknown as CostPreset,
];

const HARDWARE_COST_NAMES = Object.keys(defaultPreset.parameters) as HardwareCostName[];

/** Every parameter of a lab with its value after overrides: what the inspector shows and a run's identity holds. */
export function costParameters({
  costs,
  kernelProfile,
  workloads,
}: Pick<LabDocument, 'costs' | 'kernelProfile' | 'workloads'>): CostParameter[] {
  const kinds = new Set(workloads.map(({ kind }) => kind));
  const unused = [
    ...(kinds.has('rdma') ? [] : rdmaCostParameters()),
    ...(kinds.has('odp') || kinds.has('dmabuf') ? [] : odpCostParameters()),
  ];
  return allParameters(costs, kernelProfile).filter(({ name }) => !unused.some((other) => other.name === name));
}

function allParameters(costs: LabDocument['costs'], profile: KernelProfileName): CostParameter[] {
  const preset = presetOf(costs.preset);
  const hardware = HARDWARE_COST_NAMES.map((name): Omit<CostParameter, 'overridden'> => ({
    name,
    ...preset.parameters[name],
  }));
  const kernel = dmaCostParameters(preset.dmaCosts, profile);
  return [...hardware, ...kernel, ...nvmeCostParameters(), ...rdmaCostParameters(), ...odpCostParameters()].map(
    (parameter) => ({
      ...parameter,
      value: costs.overrides[parameter.name] ?? parameter.value,
      overridden: Object.hasOwn(costs.overrides, parameter.name),
    }),
  );
}

export function resolveCosts(
  costs: LabDocument['costs'],
  profile: KernelProfileName,
): { hardware: HardwareCosts; dma: DmaCosts; nvme: NvmeCosts; rdma: RdmaCosts; odp: OdpWorkloadCosts } {
  const preset = presetOf(costs.preset);
  const hardware = Object.fromEntries(
    HARDWARE_COST_NAMES.map((name) => [name, nanoseconds(costs.overrides[name] ?? preset.parameters[name].value)]),
  ) as HardwareCosts;
  const overrides = costs.overrides as Partial<Record<DmaCostName | NvmeCostName | RdmaCostName | OdpCostName, number>>;
  const dma = resolveDmaCosts(dmaCostParameters(preset.dmaCosts, profile), overrides);
  return {
    hardware,
    dma,
    nvme: resolveNvmeCosts(overrides),
    rdma: resolveRdmaCosts(overrides),
    odp: resolveOdpCosts(overrides),
  };
}

/** What is wrong with a lab's preset and overrides. */
export function overrideProblems(costs: LabDocument['costs'], profile: KernelProfileName): LabProblem[] {
  if (!COST_PRESETS.some((preset) => preset.id === costs.preset)) {
    const ids = COST_PRESETS.map((preset) => preset.id);
    return [
      {
        path: 'costs.preset',
        problem: `there is no preset "${costs.preset}".`,
        remedy: suggestNames(costs.preset, ids),
      },
    ];
  }
  const names = allParameters({ ...costs, overrides: {} }, profile).map((parameter) => parameter.name);
  return Object.keys(costs.overrides).flatMap((name) =>
    names.includes(name)
      ? []
      : [{ path: `costs.overrides.${name}`, problem: 'there is no such cost.', remedy: suggestNames(name, names) }],
  );
}

function presetOf(id: string): CostPreset {
  const preset = COST_PRESETS.find((candidate) => candidate.id === id);
  if (!preset) throw new RangeError(`There is no cost preset "${id}".`);
  return preset;
}
