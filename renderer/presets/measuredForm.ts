/** A preset out of a measured curve, as it is written into the dialog: what is wrong with it, what it gives, and the edit that it makes. */
import type { LabChange } from '../../electron/ipc/api.ts';
import { hardwarePreset } from '../../engine/lab/hardwarePresets.ts';
import { LIMITS } from '../../engine/lab/limits.ts';
import { measuredPreset, type MeasuredCurve } from '../../engine/lab/measuredPreset.ts';
import { curveFlaw, presetParameters, withMeasuredCurve } from '../../engine/lab/partPreset.ts';
import { costParameters } from '../../engine/lab/presets.ts';
import type { LabDocument, PartOf } from '../../engine/lab/schema.ts';
import { costName } from '../inspect/costGroups.ts';
import { strings } from '../strings.ts';
import { hardwareLabel } from './hardwareRows.ts';
import { parseNumber, type ParameterValue } from './parameters.ts';

const words = strings.measured;

export interface WrittenCurve {
  readonly name: string;
  readonly entries: string;
  readonly missNs: string;
  readonly baseNs: string;
}

export type CurveField = keyof WrittenCurve;

export interface ReadCurve {
  /** By field, a sentence each. */
  readonly complaints: Readonly<Partial<Record<CurveField, string>>>;
  /** Null where there are complaints. */
  readonly curve: (MeasuredCurve & { readonly name: string }) | null;
}

/** A value that the preset gives, beside the one that the lab has now. */
export interface PreviewRow {
  readonly name: string;
  readonly label: string;
  readonly unit: string;
  readonly before: ParameterValue;
  readonly after: ParameterValue;
  readonly mark: 'measured' | 'derived' | 'assumed';
  readonly source: string;
}

export interface CurvePreview {
  readonly hardware: readonly PreviewRow[];
  readonly costs: readonly PreviewRow[];
}

type Iommu = PartOf<'iommu'>;

/** What the fields begin with: the curve that the part has, or a name alone. */
export function firstWritten({ measured }: Iommu): WrittenCurve {
  if (measured === undefined) return { name: words.defaultName, entries: '', missNs: '', baseNs: '' };
  const { name, entries, missNs, baseNs } = measured;
  return { name, entries: String(entries), missNs: String(missNs), baseNs: String(baseNs) };
}

export function readCurve(written: WrittenCurve): ReadCurve {
  const name = written.name.trim();
  const complaints: Partial<Record<CurveField, string>> = {};
  if (name === '') complaints.name = words.noName;
  if (name.length > LIMITS.nameLength) complaints.name = words.longName(LIMITS.nameLength);
  const figure = (field: 'entries' | 'missNs' | 'baseNs'): number => {
    if (written[field].trim() === '') complaints[field] = words.missing[field];
    else if (parseNumber(written[field]) === null) complaints[field] = words.noNumber;
    return parseNumber(written[field]) ?? Number.NaN;
  };
  const curve = { entries: figure('entries'), missNs: figure('missNs'), baseNs: figure('baseNs') };
  for (const field of ['entries', 'missNs', 'baseNs'] as const) {
    // each figure with others that fit it, so that one which is missing does not hide what is wrong with another
    if (complaints[field] !== undefined) continue;
    const flaw = curveFlaw({ entries: 1, missNs: 1, baseNs: 1000, [field]: curve[field] });
    if (flaw !== null) complaints[field] = `${flaw.problem} ${flaw.remedy}`;
  }
  return { complaints, curve: Object.keys(complaints).length > 0 ? null : { name, ...curve } };
}

/** One edit that can be undone as one: the part, and the costs that go with it. */
export function curveEdit(
  lab: LabDocument,
  iommuId: string,
  { name, ...curve }: NonNullable<ReadCurve['curve']>,
): [LabChange, LabChange] {
  const { topology, costs } = withMeasuredCurve(lab, iommuId, name, curve);
  const part = topology.parts.find(({ id }) => id === iommuId);
  return [
    { path: `topology.parts[${iommuId}]`, value: part },
    { path: 'costs.overrides', value: costs.overrides },
  ];
}

/** The values that come from the figures, and others that change. */
export function curvePreview(lab: LabDocument, part: Iommu, curve: MeasuredCurve): CurvePreview {
  const made = measuredPreset(curve);
  const now = new Map(presetParameters(part).map(({ name, chosen }) => [name, chosen]));
  const known = hardwarePreset(undefined).parameters;
  const hardware = Object.entries(made.iommu).flatMap(([name, parameter]) => {
    if (parameter === undefined) return [];
    const { value, unit, mark, source } = parameter;
    const before = now.get(name) ?? value;
    if (before === value && known[name] === parameter) return [];
    return [{ name, label: hardwareLabel(name), unit, before, after: value, mark, source }];
  });
  const costs = costParameters(lab).flatMap(({ name, value, unit }) => {
    const parameter = Object.entries(made.costs).find(([own]) => own === name)?.[1];
    if (parameter === undefined) return [];
    const { mark, source } = parameter;
    return [{ name, label: costName(name), unit, before: value, after: parameter.value, mark, source }];
  });
  return { hardware, costs };
}
