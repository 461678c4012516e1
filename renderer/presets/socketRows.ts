/** The last-level cache of a socket beside the preset that it is most like, as rows that can be edited. */
import { SOCKET_PRESETS, withSocketPreset, type SocketPreset } from '../../engine/lab/socketPresets.ts';
import type { PartOf } from '../../engine/lab/schema.ts';
import { strings } from '../strings.ts';
import type { ParameterRow } from './parameters.ts';

type Socket = PartOf<'socket'>;
type CacheField = keyof SocketPreset['parameters'];

const FIELDS: readonly CacheField[] = ['sizeMiB', 'ways', 'deviceWays'];
const LABELS: Readonly<Record<CacheField, string>> = {
  sizeMiB: strings.properties.lastLevelCache,
  ways: strings.properties.cacheWays,
  deviceWays: strings.properties.deviceWays,
};

/** The choice of no cache, as an id among those of presets. */
export const NO_CACHE = 'none';

/** The preset of which the fewest values are changed; null: no cache is looked at. */
export function socketPreset({ lastLevelCache }: Socket): SocketPreset | null {
  if (lastLevelCache === undefined) return null;
  const changes = ({ parameters }: SocketPreset): number =>
    FIELDS.filter((field) => parameters[field].value !== lastLevelCache[field]).length;
  return SOCKET_PRESETS.toSorted((one, other) => changes(one) - changes(other))[0] ?? null;
}

export function socketRows(part: Socket): ParameterRow[] {
  const preset = socketPreset(part);
  const cache = part.lastLevelCache;
  if (preset === null || cache === undefined) return [];
  return FIELDS.map((name) => {
    const { value, unit, range, mark, source, help } = preset.parameters[name];
    const [from, to] = range ?? [];
    return {
      name,
      label: LABELS[name],
      value: cache[name],
      own: value,
      unit,
      range: from === undefined || to === undefined ? null : [from, to],
      bounded: true,
      mark,
      source,
      help,
      changed: cache[name] !== value,
      choices: [],
    };
  });
}

/** The part with the cache of a preset, or with none. */
export function withCacheChoice(part: Socket, choice: string): Socket {
  const preset = SOCKET_PRESETS.find(({ id }) => id === choice);
  if (preset !== undefined) return withSocketPreset(part, preset);
  const { lastLevelCache: _, ...rest } = part;
  return rest;
}
