import { describe, expect, it } from 'vitest';
import { SOCKET_PRESETS } from '../../engine/lab/socketPresets.ts';
import type { PartOf } from '../../engine/lab/schema.ts';
import { sampleParts } from '../testing/sampleLab.ts';
import { NO_CACHE, socketPreset, socketRows, withCacheChoice } from './socketRows.ts';

const socket = sampleParts.find((part): part is PartOf<'socket'> => part.kind === 'socket')!;

describe('the last-level cache of a socket', () => {
  it('is none until one is chosen, and then the one that was', () => {
    expect(socketPreset(socket)).toBeNull();
    expect(socketRows(socket)).toEqual([]);
    for (const preset of SOCKET_PRESETS) {
      const chosen = withCacheChoice(socket, preset.id);
      expect(socketPreset(chosen)).toBe(preset);
      expect(socketRows(chosen).filter(({ changed }) => changed)).toEqual([]);
      for (const { unit, source, range } of socketRows(chosen)) {
        expect(unit).not.toBe('');
        expect(source).not.toBe('');
        expect(range).not.toBeNull();
      }
      expect(withCacheChoice(chosen, NO_CACHE)).toEqual(socket);
    }
  });

  it('says what of its preset is changed', () => {
    const [first] = SOCKET_PRESETS;
    const chosen = withCacheChoice(socket, first!.id);
    const changed = { ...chosen, lastLevelCache: { ...chosen.lastLevelCache!, deviceWays: 0 } };
    expect(socketPreset(changed)).toBe(first);
    expect(socketRows(changed).filter((row) => row.changed)).toMatchObject([{ name: 'deviceWays', value: 0 }]);
  });
});
