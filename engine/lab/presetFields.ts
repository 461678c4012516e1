/**
 * What a hardware preset that a document names stands for: fields that the IOMMU's part leaves out get the preset's values, before defaults
 * are thought of, so that a preset written by hand makes the same machine as one chosen in the window. What the part says itself stays. The
 * values of a measured curve are filled in alike; its costs stand in the lab's overrides, where they can be taken back.
 * Works on documents that nobody has checked yet, and leaves alone what is not as it should be: the schema will say so.
 */
import { HARDWARE_PRESETS, type HardwarePreset } from './hardwarePresets.ts';
import { measuredPreset, type MeasuredCurve } from './measuredPreset.ts';

type Fields = Readonly<Record<string, unknown>>;

const OF_ANY_PRESET: ReadonlySet<string> = new Set(
  HARDWARE_PRESETS.flatMap(({ parameters }) => [...Object.keys(parameters), 'vendor', 'measured']),
);

/** The document with the fields that its parts leave to their presets. */
export function withPresetFields(document: unknown): unknown {
  return withParts(document, (part) => ({ ...presetFields(part), ...part }));
}

/** After a preset was put into a part: what the one before has written there gives way, and what anybody has set besides. */
export function withPresetChosen(document: unknown, path: readonly PropertyKey[]): unknown {
  if (path.length !== 4 || path[0] !== 'topology' || path[1] !== 'parts' || path[3] !== 'preset') return document;
  return withParts(document, (part, index) =>
    index === path[2] ? Object.fromEntries(Object.entries(part).filter(([name]) => !OF_ANY_PRESET.has(name))) : part,
  );
}

function withParts(document: unknown, change: (part: Fields, index: number) => Fields): unknown {
  if (!isFields(document) || !isFields(document['topology'])) return document;
  const { topology } = document;
  const { parts } = topology;
  if (!Array.isArray(parts)) return document;
  const changed = parts.map((part: unknown, index) =>
    isFields(part) && part['kind'] === 'iommu' ? change(part, index) : part,
  );
  return { ...document, topology: { ...topology, parts: changed } };
}

function presetFields({ preset: id, measured }: Fields): Fields {
  if (measured !== undefined) return measuredFields(measured);
  const preset = HARDWARE_PRESETS.find((known) => known.id === id);
  if (preset === undefined) return {};
  return { ...(preset.vendor === 'vtd' ? {} : { vendor: preset.vendor }), ...valuesOf(preset.parameters) };
}

function measuredFields(measured: unknown): Fields {
  try {
    return valuesOf(measuredPreset(measured as MeasuredCurve).iommu as HardwarePreset['parameters']);
  } catch {
    // no curve at all, or one that cannot be: the check of the document says so
    return {};
  }
}

function valuesOf(parameters: HardwarePreset['parameters']): Fields {
  return Object.fromEntries(Object.entries(parameters).map(([name, { value }]) => [name, value]));
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
