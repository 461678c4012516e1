/**
 * Every parameter that stands behind the figures of a lab, with where its value comes from: costs (presets.ts) and the structure of
 * each IOMMU (hardwarePresets.ts). A value that the lab sets itself has no source but the lab, unless it came with a measured curve.
 * Leaves out: drives, links and memory, which a lab describes and no preset guesses; they stand under what was run.
 */
import type { CostMark } from '../../dma/kernels/costs.ts';
import { measuredPreset, type MeasuredCurve } from '../measuredPreset.ts';
import { presetName, presetParameters } from '../partPreset.ts';
import { costParameters } from '../presets.ts';
import type { HardwareParameter, HardwareValue } from '../hardwarePresets.ts';
import type { LabDocument, PartOf } from '../schema.ts';

/** `lab`: the lab says so, and gives no source. */
export type ParameterMark = CostMark | 'lab';

export interface ReportParameter {
  /** As people find it: a cost by its name, a field of an IOMMU behind the part's id. */
  readonly name: string;
  readonly value: HardwareValue;
  readonly unit: string;
  readonly mark: ParameterMark;
  readonly source: string;
  readonly help: string;
  readonly range: readonly number[] | null;
  /** A number of things, of which there is at least one. */
  readonly whole: boolean;
  /** The document with another value; nobody has checked it yet. */
  readonly changed: (value: number) => unknown;
}

export function reportParameters(lab: LabDocument): ReportParameter[] {
  const iommus = lab.topology.parts.filter((part) => part.kind === 'iommu');
  return [...costs(lab, iommus), ...iommus.flatMap((part) => structure(lab, part))];
}

/** No measurement stands behind it. */
export function isAssumed({ mark }: ReportParameter): boolean {
  return mark === 'assumed' || mark === 'lab';
}

function costs(lab: LabDocument, iommus: readonly PartOf<'iommu'>[]): ReportParameter[] {
  const curves = iommus.flatMap(({ measured }) => (measured === undefined ? [] : [curveCosts(measured)]));
  return costParameters(lab).map((parameter) => {
    const { name, value, unit, help, range } = parameter;
    const brought = curves.map((curve) => curve[name]).find((one) => one?.value === value);
    const origin = parameter.overridden ? (brought ?? setByLab(parameter)) : parameter;
    return {
      name,
      value,
      unit,
      help,
      mark: origin.mark,
      source: origin.source,
      range: range ?? null,
      whole: false,
      changed: (other) => ({ ...lab, costs: { ...lab.costs, overrides: { ...lab.costs.overrides, [name]: other } } }),
    };
  });
}

function curveCosts(curve: MeasuredCurve): Readonly<Record<string, HardwareParameter | undefined>> {
  return measuredPreset(curve).costs;
}

function structure(lab: LabDocument, part: PartOf<'iommu'>): ReportParameter[] {
  return presetParameters(part).map((parameter) => {
    const { chosen, changed, unit, help, range } = parameter;
    const origin = changed ? setByLab(parameter) : parameter;
    return {
      name: `${part.id}.${parameter.name}`,
      value: chosen,
      unit,
      help: `${help} (${presetName(part)})`,
      mark: origin.mark,
      source: origin.source,
      range: range ?? null,
      whole: true,
      changed: (value) => withField(lab, part.id, parameter.name, Math.max(1, Math.round(value))),
    };
  });
}

function setByLab({ mark, source }: { readonly mark: CostMark; readonly source: string }): {
  readonly mark: ParameterMark;
  readonly source: string;
} {
  return { mark: 'lab', source: `set in this lab in place of the preset's value (${mark}: ${source})` };
}

function withField(lab: LabDocument, id: string, field: string, value: number): unknown {
  const parts = lab.topology.parts.map((part) => (part.id === id ? { ...part, [field]: value } : part));
  return { ...lab, topology: { ...lab.topology, parts } };
}
