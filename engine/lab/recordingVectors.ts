/**
 * What the block layer handed the driver for one command: direction, by its opcode, and, read back from the calls that the driver
 * made, the physically contiguous vectors, and whether they came as one segment or several (Linux drivers/nvme/host/pci.c
 * `nvme_map_data`, block/blk-mq-dma.c `blk_rq_dma_map_iter_start`). The number of segments cannot be had from the
 * addresses: since 7.x the block layer counts bvecs, and neighbouring ones may be adjacent.
 * Leaves out: metadata (integrity) mappings.
 */
import { offsetInPage, pageAlign, PAGE_SIZE, physAddr } from '../memory/addresses.ts';
import type { FtraceRecord } from '../formats/ftrace.ts';
import type { RecordedVector } from '../workloads/recordedRequest.ts';
import type { TracedCall } from './recordingCalls.ts';
import type { TracedCommand } from './recordingTie.ts';

export interface RecordedMemory {
  readonly write: boolean;
  readonly vectors: readonly RecordedVector[];
  readonly segments: number;
  readonly bytes: number;
  /** Pages that the driver's pools took, each with the number of vector-mapping calls that stood before it. */
  readonly poolPages: readonly PoolPage[];
}

export interface PoolPage {
  /** Where the page lay, where a map tells it. */
  readonly phys: number | null;
  readonly bytes: number;
  /** Calls of the request that came before. */
  readonly afterCalls: number;
}

const DIRECTION_TO_DEVICE = 1;

/**
 * The entries of a scatterlist. Its event tells where each entry starts, but not how long it is. In a direct mapping every
 * entry is a DMA segment with a size. Behind an IOMMU the `map` events cover the entries padded to whole pages, in order,
 * and the last entry takes what is left of the total. Where starts and maps do not fit each other the lengths are those of
 * the maps in order: the recording contradicts itself, and a comparison is to show it. Null: the kernel cut the list short.
 */
function scatterlistVectors(call: TracedCall): RecordedVector[] | null {
  const event = call.records.at(-1)?.event;
  if (event?.name !== 'dma_map_sg' || event.entries !== event.physAddresses.length) return null;
  const starts = event.physAddresses;
  const sizes = event.sizes;
  const maps = call.records.flatMap((record) => (record.event.name === 'map' ? [record.event] : []));
  if (maps.length === 0) return starts.map((phys, index) => ({ phys: physAddr(phys), length: sizes[index] ?? 0 }));
  let left = sizes.reduce((sum, size) => sum + size, 0);
  let at = 0;
  let end = -1;
  const vectors: RecordedVector[] = [];
  for (const [index, phys] of starts.entries()) {
    const map = maps[at];
    // Joined entries share a map: the next one starts where this one, padded, ends.
    const joins = phys < end && (map === undefined || phys < map.phys || phys >= map.phys + map.size);
    if (!joins) {
      end = phys - offsetInPage(phys) + (map?.size ?? PAGE_SIZE);
      at += 1;
    }
    const next = starts[index + 1];
    const stop = next !== undefined && next > phys && next < end ? next : end;
    const length = next === undefined ? left : Math.min(left, stop - phys);
    if (length > 0) vectors.push({ phys: physAddr(phys), length });
    left -= length;
  }
  return vectors;
}

/** The direction is the command's; where its opcode does not tell, that of its mappings. */
function isWrite(opcode: string, calls: readonly TracedCall[]): boolean {
  if (opcode === 'nvme_cmd_read') return false;
  if (opcode === 'nvme_cmd_write') return true;
  for (const record of calls.flatMap((call) => call.records)) {
    const event = record.event;
    if (event.name === 'link') return event.direction === DIRECTION_TO_DEVICE;
    if (event.name === 'dma_map_page' || event.name === 'dma_map_phys' || event.name === 'dma_map_sg') {
      return event.direction === 'TO_DEVICE';
    }
  }
  return false;
}

function poolPage(call: TracedCall, afterCalls: number): PoolPage {
  const map = call.records.find((record) => record.event.name === 'map')?.event;
  const named = call.records.at(-1)?.event;
  return {
    phys: map?.name === 'map' ? map.phys : null,
    bytes: named?.name === 'dma_alloc' ? pageAlign(named.size) : PAGE_SIZE,
    afterCalls,
  };
}

/** A sentence instead of the memory: why it cannot be told. */
export function readMemory(command: TracedCommand): RecordedMemory | string {
  const vectors: RecordedVector[] = [];
  const poolPages: PoolPage[] = [];
  let segments = 0;
  let twoStep = false;
  for (const [index, call] of command.submission.entries()) {
    const event = call.name === null ? undefined : eventOf(call, call.name)?.event;
    switch (event?.name) {
      case 'try_alloc':
        // The driver tries this only for several segments.
        twoStep = true;
        break;
      case 'link':
      case 'dma_map_page':
      case 'dma_map_phys':
        vectors.push({ phys: physAddr(event.phys), length: event.size });
        segments += 1;
        break;
      case 'dma_map_sg': {
        const entries = scatterlistVectors(call);
        if (entries === null) return 'its scatterlist is longer than the kernel traces';
        vectors.push(...entries);
        segments += event.entries;
        break;
      }
      case 'dma_alloc':
        poolPages.push(poolPage(call, index - poolPages.length));
        break;
      default:
        // Whatever else is there tells nothing about memory; the comparison will not find it in the emulator's list.
        break;
    }
  }
  return {
    write: isWrite(command.opcode, command.submission),
    vectors,
    segments: twoStep ? Math.max(2, segments) : segments,
    bytes: vectors.reduce((sum, vector) => sum + vector.length, 0),
    poolPages,
  };
}

function eventOf(call: TracedCall, name: string): FtraceRecord | undefined {
  return call.records.find((record) => record.event.name === name);
}
