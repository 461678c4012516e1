/**
 * Presets of a socket's last-level cache, with DDIO and without: files beside those of IOMMUs, each parameter with source and mark.
 * What caches, DRAM and the way to another socket take stands in cost presets (presets.ts).
 * Leaves out: other levels of caches, which devices do not meet.
 */
import serverDdio from '../../fixtures/presets/hardware/server-ddio.json' with { type: 'json' };
import serverDdioOff from '../../fixtures/presets/hardware/server-ddio-off.json' with { type: 'json' };
import type { HardwareParameter } from './hardwarePresets.ts';
import type { PartOf } from './schema.ts';

type CacheField = 'sizeMiB' | 'ways' | 'deviceWays';

export interface SocketPreset {
  readonly id: string;
  readonly title: string;
  readonly description: string;
  /** By the name of the field in the socket's `lastLevelCache`. */
  readonly parameters: Readonly<Record<CacheField, HardwareParameter & { readonly value: number }>>;
}

/** A socket that names a cache and no size begins with the values of the first. */
export const SOCKET_PRESETS: readonly SocketPreset[] = [
  serverDdio,
  serverDdioOff,
] as unknown as readonly SocketPreset[];

export function withSocketPreset(part: PartOf<'socket'>, { parameters }: SocketPreset): PartOf<'socket'> {
  const { sizeMiB, ways, deviceWays } = parameters;
  return {
    ...part,
    lastLevelCache: { sizeMiB: sizeMiB.value, ways: ways.value, deviceWays: deviceWays.value },
  };
}
