/**
 * Hardware presets: the sizes and policies of an IOMMU's caches, as far as anybody has published or guessed them, each with its
 * source and mark. Choosing one writes its values into the part, where they can be changed; what was changed can be seen,
 * because the part remembers the preset's name. What things take stands in cost presets (presets.ts).
 */
import amdZen from '../../fixtures/presets/hardware/amd-zen.json' with { type: 'json' };
import armGem5 from '../../fixtures/presets/hardware/arm-gem5.json' with { type: 'json' };
import fandsHost from '../../fixtures/presets/hardware/fands-host.json' with { type: 'json' };
import hypersio from '../../fixtures/presets/hardware/hypersio.json' with { type: 'json' };
import intelModern from '../../fixtures/presets/hardware/intel-modern.json' with { type: 'json' };
import intelSnbBdw from '../../fixtures/presets/hardware/intel-snb-bdw.json' with { type: 'json' };
import pcieBenchPaper from '../../fixtures/presets/hardware/pcie-bench-paper.json' with { type: 'json' };
import riscvRef from '../../fixtures/presets/hardware/riscv-ref.json' with { type: 'json' };
import type { CostMark } from '../dma/kernels/costs.ts';
import type { PartOf } from './schema.ts';

export type HardwareValue = number | string | boolean;

export interface HardwareParameter {
  readonly value: HardwareValue;
  readonly unit: string;
  readonly range?: readonly number[];
  readonly mark: CostMark;
  readonly source: string;
  readonly help: string;
}

export interface HardwarePreset {
  readonly id: string;
  readonly title: string;
  readonly description: string;
  /** Whose IOMMU it is. */
  readonly vendor: NonNullable<PartOf<'iommu'>['vendor']>;
  /** By the name of the field in the IOMMU's part. */
  readonly parameters: Readonly<Record<string, HardwareParameter>>;
}

/** Every part begins with the values of the first. */
export const HARDWARE_PRESETS: readonly HardwarePreset[] = [
  intelSnbBdw,
  pcieBenchPaper,
  fandsHost,
  intelModern,
  amdZen,
  armGem5,
  riscvRef,
  hypersio,
] as unknown as readonly HardwarePreset[];

export const HARDWARE_PRESET_IDS: readonly string[] = HARDWARE_PRESETS.map(({ id }) => id);

export interface PartParameter extends HardwareParameter {
  readonly name: string;
  /** What the part has; the preset's own value stands in `value`. */
  readonly chosen: HardwareValue;
  readonly changed: boolean;
}

export function hardwarePreset(id: string | undefined): HardwarePreset {
  return HARDWARE_PRESETS.find((preset) => preset.id === id) ?? HARDWARE_PRESETS[0]!;
}

/** The parameters of an IOMMU beside those of its preset, or beside others. */
export function partParameters(
  part: PartOf<'iommu'>,
  parameters: HardwarePreset['parameters'] = hardwarePreset(part.preset).parameters,
): PartParameter[] {
  const fields = part as unknown as Readonly<Record<string, HardwareValue | undefined>>;
  return Object.entries(parameters).map(([name, parameter]) => {
    const chosen = fields[name] ?? parameter.value;
    return { name, ...parameter, chosen, changed: chosen !== parameter.value };
  });
}

/** The part with the values of a preset in place of its own; fields that the preset does not name are left out. */
export function withPreset(part: PartOf<'iommu'>, preset: HardwarePreset): PartOf<'iommu'> {
  const known = new Set(HARDWARE_PRESETS.flatMap(({ parameters }) => Object.keys(parameters)));
  const own = Object.entries(part).filter(([name]) => !known.has(name));
  const values = Object.entries(preset.parameters).map(([name, { value }]) => [name, value]);
  const vendor = preset.vendor === 'vtd' ? {} : { vendor: preset.vendor };
  const { vendor: _vendor, measured: _measured, ...rest } = Object.fromEntries(own) as Partial<PartOf<'iommu'>>;
  return { ...rest, ...vendor, preset: preset.id, ...Object.fromEntries(values) } as PartOf<'iommu'>;
}
