/**
 * Where the values of an IOMMU come from: a hardware preset, or a measured curve under a name that the user has given. One
 * place for both, so that a part out of a measured curve is compared with what the curve says, and called by its name.
 */
import { LabError } from '../time/labError.ts';
import { hardwarePreset, partParameters, type PartParameter } from './hardwarePresets.ts';
import { measuredPreset, withMeasuredPreset, type MeasuredCurve } from './measuredPreset.ts';
import type { LabDocument, PartOf } from './schema.ts';

export function presetParameters(part: PartOf<'iommu'>): PartParameter[] {
  return part.measured === undefined
    ? partParameters(part)
    : partParameters(part, measuredPreset(part.measured).iommu as Parameters<typeof partParameters>[1]);
}

/** The id of its preset, or the name of its curve with the three figures. */
export function presetName({ preset, measured }: PartOf<'iommu'>): string {
  return measured === undefined ? hardwarePreset(preset).id : `${measured.name} (${figures(measured)})`;
}

/** Why there can be no preset out of a curve; null: there can. */
export function curveFlaw(curve: MeasuredCurve): LabError | null {
  try {
    measuredPreset(curve);
    return null;
  } catch (error) {
    if (error instanceof LabError) return error;
    throw error;
  }
}

function figures({ entries, missNs, baseNs }: MeasuredCurve): string {
  return `K ${String(entries)}, m ${String(missNs)} ns, b ${String(baseNs)} ns`;
}

/** Overrides without what a curve has brought and nobody has changed since: for the part that no longer has it. */
export function withoutCurveCosts(
  overrides: LabDocument['costs']['overrides'],
  curve: MeasuredCurve,
): LabDocument['costs']['overrides'] {
  const brought = new Map(Object.entries(measuredPreset(curve).costs).map(([name, { value }]) => [name, value]));
  return Object.fromEntries(Object.entries(overrides).filter(([name, value]) => brought.get(name) !== value));
}

/** The lab with an IOMMU and costs out of a measured curve; the part remembers the curve in place of a preset. */
export function withMeasuredCurve(lab: LabDocument, iommuId: string, name: string, curve: MeasuredCurve): LabDocument {
  const { entries, missNs, baseNs } = curve;
  const made = withMeasuredPreset(lab, iommuId, measuredPreset(curve));
  const parts = made.topology.parts.map((part) => {
    if (part.kind !== 'iommu' || part.id !== iommuId) return part;
    const { preset: _preset, ...rest } = part;
    return { ...rest, measured: { name, entries, missNs, baseNs } };
  });
  return { ...made, topology: { ...made.topology, parts } };
}
