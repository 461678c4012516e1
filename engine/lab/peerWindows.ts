/**
 * Where the memory of a lab's peers lies: behind the node's RAM a range of physical addresses for each host bridge that has such a
 * device below it, as firmware gives bridges room for 64-bit prefetchable registers (PCI Firmware Specification 4.1.3), wide enough
 * for all of them however they are aligned.
 */
import { alignUp, type AddressRange } from '../pcie/addressLayout.ts';
import type { HostBridgeApertures } from '../pcie/addressWindows.ts';
import type { Part } from './schema.ts';
import { socketOf } from './topologyCheck.ts';

const MIB = 2 ** 20;
const GIB = 2 ** 30;
/** No register of a lab is so small or so old that it would lie there; each bridge has a little of it all the same. */
const LOW = 0xe000_0000;
const LOW_BYTES = 16 * MIB;

export interface PeerWindows {
  /** In the order of the sockets. */
  readonly apertures: readonly HostBridgeApertures[];
  /** All of them, which no IOVA may lie in. */
  readonly reserved: readonly AddressRange[];
  /** One past the last physical address that anything lies at. */
  readonly end: number;
}

/** Null: no part has memory for its peers. */
export function peerWindows(parts: readonly Part[]): PeerWindows | null {
  if (!parts.some(({ kind }) => kind === 'gpu')) return null;
  let end = parts.reduce((bytes, part) => bytes + (part.kind === 'memory' ? part.sizeGiB * GIB : 0), 0);
  const apertures = parts
    .filter((part) => part.kind === 'socket')
    .map((socket, index): HostBridgeApertures => {
      const low = LOW + index * LOW_BYTES;
      const below4G = { start: low, end: low + LOW_BYTES - 1 };
      const sizes = parts.flatMap((part) =>
        part.kind === 'gpu' && socketOf(parts, part.id) === socket ? [part.memoryMiB * MIB] : [],
      );
      if (sizes.length === 0) return { below4G, above4G: null };
      const largest = Math.max(GIB, ...sizes);
      const start = alignUp(end, largest);
      end = start + largest * 2 * sizes.length;
      return { below4G, above4G: { start, end: end - 1 } };
    });
  const reserved = apertures.flatMap(({ below4G, above4G }) => (above4G === null ? [below4G] : [below4G, above4G]));
  return { apertures, reserved, end };
}
