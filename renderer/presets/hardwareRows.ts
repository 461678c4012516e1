/** The parameters of an IOMMU beside those of its hardware preset or measured curve, as rows that can be edited. */
import { HARDWARE_PRESETS } from '../../engine/lab/hardwarePresets.ts';
import { presetParameters } from '../../engine/lab/partPreset.ts';
import type { PartOf } from '../../engine/lab/schema.ts';
import { costName } from '../inspect/costGroups.ts';
import { strings } from '../strings.ts';
import type { ParameterRow, ParameterValue } from './parameters.ts';

export function hardwareRows(part: PartOf<'iommu'>): ParameterRow[] {
  return presetParameters(part).map(({ name, chosen, value, unit, range, mark, source, help, changed }) => {
    const [from, to] = range ?? [];
    return {
      name,
      label: hardwareLabel(name),
      value: chosen,
      own: value,
      unit,
      range: from === undefined || to === undefined ? null : [from, to],
      bounded: true,
      mark,
      source,
      help,
      changed,
      choices: choicesOf(name, value),
    };
  });
}

export function hardwareLabel(name: string): string {
  const known: unknown = Reflect.get(strings.properties, name);
  return typeof known === 'string' ? known : costName(name);
}

/** Words that no preset need have. */
const POLICIES: Readonly<Record<string, readonly string[]>> = { iotlbReplacement: ['lru', 'plru', 'roundRobin'] };

/** Words are chosen among those that are known, or that any preset has. */
function choicesOf(name: string, value: ParameterValue): string[] {
  if (typeof value === 'boolean') return ['true', 'false'];
  if (typeof value === 'number') return [];
  const known = HARDWARE_PRESETS.flatMap(({ parameters }) => parameters[name]?.value ?? []);
  return [...new Set([value, ...(POLICIES[name] ?? []), ...known].filter((one) => typeof one === 'string'))].toSorted();
}
