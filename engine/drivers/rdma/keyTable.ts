/**
 * Writing an adapter's table by UMR work requests (Linux drivers/infiniband/hw/mlx5/umr.c: `mlx5r_umr_create_xlt`, `mlx5r_umr_alloc_xlt`,
 * `mlx5r_umr_update_mr_pas`): entries are prepared in a buffer of less than 1 MiB, of 64 KiB where there is none, or in one page kept for
 * emergencies, and go in units of 64 bytes, the last one filled up with absent entries.
 * Leaves out: KLM entries, and mapping the buffer for the adapter.
 */
import type { Cpu } from '../../time/cpu.ts';
import type { Picoseconds } from '../../time/picoseconds.ts';
import type { RdmaCosts } from './rdmaCosts.ts';
import type { RegionAdapter } from './regionAdapter.ts';

/** Bytes of an MTT entry. */
export const MTT_BYTES = 8;
const MTT_PRESENT = 0b11;
/** `MLX5_UMR_FLEX_ALIGNMENT`. */
const UNIT = 64;
/** `MLX5_MAX_UMR_CHUNK`: a work request counts its units in 16 bits, and one less than that many. */
const LARGEST_CHUNK = 2 ** 20 - UNIT;
/** `MLX5_SPARE_UMR_CHUNK`. */
const SPARE_CHUNK = 2 ** 16;
const EMERGENCY_CHUNK = 4096;

/** Whether memory for a buffer of so many bytes can be had. */
export type BufferMemory = (bytes: number) => boolean;

/** The size of the buffer for a table of so many bytes. */
function chunkBytes(tableBytes: number, hasMemory: BufferMemory): number {
  const wanted = Math.min(roundToUnit(tableBytes), LARGEST_CHUNK);
  if (hasMemory(wanted)) return wanted;
  if (wanted > SPARE_CHUNK && hasMemory(SPARE_CHUNK)) return SPARE_CHUNK;
  return EMERGENCY_CHUNK;
}

/** Entries that a table has room for when it is to hold `entries`: whole units. */
export function roundToEntries(entries: number): number {
  return roundToUnit(entries * MTT_BYTES) / MTT_BYTES;
}

/** Writes `count` addresses into a key's table: 0, or the adapter's errno with the table half written. */
export function writeAddresses(
  cpu: Cpu,
  adapter: RegionAdapter,
  costs: RdmaCosts,
  key: number,
  addresses: Float64Array,
  count: number,
  hasMemory: BufferMemory,
): number {
  const size = chunkBytes(count * MTT_BYTES, hasMemory);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  const perChunk = size / MTT_BYTES;
  for (let first = 0; first < count; first += perChunk) {
    const entries = Math.min(perChunk, count - first);
    for (let index = 0; index < entries; index += 1) writeEntry(view, index, addresses[first + index]!);
    const length = roundToUnit(entries * MTT_BYTES);
    bytes.fill(0, entries * MTT_BYTES, length);
    cpu.spend((entries * costs.rdmaTableEntry + costs.rdmaUmrPost) as Picoseconds);
    const error = adapter.writeTable(cpu, key, first, bytes, length);
    if (error !== 0) return error;
  }
  return 0;
}

/** Big endian, as the adapter reads it. */
function writeEntry(view: DataView, index: number, address: number): void {
  view.setUint32(index * MTT_BYTES, Math.floor(address / 2 ** 32));
  view.setUint32(index * MTT_BYTES + 4, ((address % 2 ** 32) | MTT_PRESENT) >>> 0);
}

function roundToUnit(bytes: number): number {
  return Math.ceil(bytes / UNIT) * UNIT;
}
