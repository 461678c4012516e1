/**
 * Bounce buffers: memory that a device cannot or must not reach is copied into a pool that it can, and back (Linux
 * kernel/dma/swiotlb.c: `swiotlb_tbl_map_single`, `swiotlb_bounce`, `swiotlb_tbl_unmap_single`; trace event
 * swiotlb:swiotlb_bounced). Bytes are really copied, in both directions.
 * Leaves out: restricted pools, and transient pools of dynamic mode.
 */
import { PAGE_SIZE } from '../../memory/addresses.ts';
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { COUNTER, type Counters } from '../../metrics/counters.ts';
import type { EventLog } from '../../metrics/eventLog.ts';
import type { Cpu } from '../../time/cpu.ts';
import { picoseconds } from '../../time/picoseconds.ts';
import { DMA_ATTR_NO_WARN, DMA_ATTR_SKIP_CPU_SYNC, DMA_TO_DEVICE, type DmaDirection } from '../attributes.ts';
import type { DmaCosts } from '../kernels/costs.ts';
import type { DmaDevice } from '../device.ts';
import { bits, IO_TLB_SEGSIZE, IO_TLB_SIZE, NO_SLOT, SwiotlbPool } from './swiotlbPool.ts';
import type { DmaTrace } from '../trace.ts';

/** What `map` returns when it finds no room. */
export const NO_BOUNCE_BUFFER = -1;
const COPY_BYTES = 64 * 1024;
const COPY_UNIT_BYTES = 64;

export interface SwiotlbOptions {
  readonly memory: PhysicalMemory;
  /** The pool's first page. */
  readonly firstPage: number;
  /** Slots of 2 KiB. */
  readonly slots: number;
  /** Areas with a search position of their own; the kernel takes the CPUs, rounded up to a power of two. */
  readonly areas?: number;
  /** `swiotlb=force`: every mapping is bounced. */
  readonly force?: boolean;
  /** The slot at which the first search of area 0 begins, or of each area: what drivers used before a recording. */
  readonly startIndex?: number | readonly number[];
  readonly costs: DmaCosts;
  readonly counters: Counters;
  readonly trace: DmaTrace | null;
  readonly log: EventLog | null;
}

/** `swiotlb=` on the command line cuts areas so that each has a whole number of segments. */
export function swiotlbAreas(cpus: number, slots: number): number {
  let areas = 1;
  while (areas < cpus && slots >= areas * 2 * IO_TLB_SEGSIZE) areas *= 2;
  return areas;
}

/** `swiotlb_max_mapping_size`: a segment, less what the device's alignment may take of it. */
export function swiotlbMaxMappingSize(device: DmaDevice): number {
  return IO_TLB_SEGSIZE * IO_TLB_SIZE - Math.ceil(device.minAlignMask / IO_TLB_SIZE) * IO_TLB_SIZE;
}

export class Swiotlb {
  readonly force: boolean;
  private readonly pool: SwiotlbPool;
  private readonly options: SwiotlbOptions;
  /** Of each slot: the original address behind its first byte, -1 when free; and the bytes of its buffer from there on. */
  private readonly original: Float64Array;
  private readonly allocated: Float64Array;
  /** Of a buffer's first data slot: the slots before it that only align it. */
  private readonly padding: Uint8Array;
  private readonly copyBuffer = new Uint8Array(COPY_BYTES);

  constructor(options: SwiotlbOptions) {
    this.options = options;
    this.force = options.force ?? false;
    const { slots } = options;
    this.pool = new SwiotlbPool(options.firstPage * PAGE_SIZE, slots, options.areas ?? 1, options.startIndex ?? 0);
    this.original = new Float64Array(slots).fill(-1);
    this.allocated = new Float64Array(slots);
    this.padding = new Uint8Array(slots);
  }

  /** `io_tlb_nslabs`. */
  get slots(): number {
    return this.pool.slots;
  }

  /** `io_tlb_used`: slots in use. */
  get used(): number {
    return this.pool.used;
  }

  /** `io_tlb_used_hiwater`. */
  get usedHighWater(): number {
    return this.pool.usedHighWater;
  }

  /** `is_swiotlb_buffer`. */
  contains(phys: number): boolean {
    const { start, slots } = this.pool;
    return phys >= start && phys < start + slots * IO_TLB_SIZE;
  }

  /** See `swiotlbMaxMappingSize`. */
  maxMappingSize(device: DmaDevice): number {
    return swiotlbMaxMappingSize(device);
  }

  /**
   * `swiotlb_tbl_map_single`: the physical address of a buffer that holds a copy of the memory, or NO_BOUNCE_BUFFER. The copy is made for
   * every direction, so that bytes which the device leaves alone survive the way back.
   */
  map(
    cpu: Cpu,
    device: DmaDevice,
    phys: number,
    size: number,
    allocAlignMask: number,
    _direction: DmaDirection,
    attributes: number,
  ): number {
    const { pool, options } = this;
    if (options.trace !== null) {
      options.trace.emit({ event: 'swiotlb_bounced', address: phys, size, forced: this.force });
    }
    cpu.spend(options.costs.bounceMapCall);
    const offset = phys & device.minAlignMask & (allocAlignMask | (IO_TLB_SIZE - 1));
    const unit = allocAlignMask + 1;
    const total = Math.ceil((size + offset) / unit) * unit;
    const slots = Math.ceil(total / IO_TLB_SIZE);
    const wholePages = allocAlignMask === 0 && device.minAlignMask === 0 && total >= PAGE_SIZE;
    const placeMask = (wholePages ? PAGE_SIZE - 1 : allocAlignMask) | (IO_TLB_SIZE - 1);
    const first = pool.allocate(cpu.id, {
      slots,
      allocAlignMask: placeMask,
      minAlignMask: bits(device.minAlignMask, ~placeMask & 0x7fff_ffff),
      original: phys,
      segBoundaryMask: device.segBoundaryMask,
    });
    if (first === NO_SLOT) {
      this.complain(cpu, device, total, attributes);
      return NO_BOUNCE_BUFFER;
    }
    device.dmaSkipSync = false;
    const padSlots = Math.floor(offset / IO_TLB_SIZE);
    const offsetInSlot = offset % IO_TLB_SIZE;
    for (let slot = 0; slot < slots; slot += 1) {
      this.allocated[first + slot] = total - offsetInSlot - slot * IO_TLB_SIZE;
      this.original[first + slot] = slot < padSlots ? phys : phys + (slot - padSlots) * IO_TLB_SIZE;
    }
    this.padding[first + padSlots] = padSlots;
    const bounce = pool.start + first * IO_TLB_SIZE + offset;
    options.counters.values[COUNTER.bounces]! += 1;
    this.copy(cpu, phys, bounce, size);
    return bounce;
  }

  /** `swiotlb_tbl_unmap_single`: copies back what the device may have written, and frees the slots. */
  unmap(cpu: Cpu, device: DmaDevice, bounce: number, size: number, direction: DmaDirection, attributes: number): void {
    cpu.spend(this.options.costs.bounceUnmapCall);
    if ((attributes & DMA_ATTR_SKIP_CPU_SYNC) === 0) this.syncForCpu(cpu, device, bounce, size, direction);
    const offset = bounce & device.minAlignMask & (IO_TLB_SIZE - 1);
    // of a device whose alignment has changed since the map, the address may lie inside a slot
    const dataSlot = Math.floor((bounce - offset - this.pool.start) / IO_TLB_SIZE);
    const first = dataSlot - this.padding[dataSlot]!;
    const slots = Math.ceil((this.allocated[first]! + offset) / IO_TLB_SIZE);
    this.padding[dataSlot] = 0;
    this.original.fill(-1, first, first + slots);
    this.allocated.fill(0, first, first + slots);
    this.pool.release(first, slots);
  }

  /** `__swiotlb_sync_single_for_cpu`: buffer to memory, unless the device may only read. */
  syncForCpu(cpu: Cpu, device: DmaDevice, bounce: number, size: number, direction: DmaDirection): void {
    if (direction === DMA_TO_DEVICE) return;
    this.copyBetween(cpu, device, bounce, size, false);
  }

  /** `__swiotlb_sync_single_for_device`: memory to buffer, whenever the device may read. */
  syncForDevice(cpu: Cpu, device: DmaDevice, bounce: number, size: number, direction: DmaDirection): void {
    if (direction === DMA_TO_DEVICE || direction === 0) this.copyBetween(cpu, device, bounce, size, true);
  }

  /** `swiotlb_bounce`: a part of a buffer, cut to what was allocated. */
  private copyBetween(cpu: Cpu, device: DmaDevice, bounce: number, size: number, toDevice: boolean): void {
    const slot = Math.floor((bounce - this.pool.start) / IO_TLB_SIZE);
    const original = this.original[slot]!;
    if (original < 0) {
      this.options.log?.add(cpu.now, 'error', device.name, 'a bounce buffer that is not in use was to be copied');
      return;
    }
    const inSlot = (bounce & (IO_TLB_SIZE - 1)) - (original & device.minAlignMask & (IO_TLB_SIZE - 1));
    const bytes = Math.min(size, this.allocated[slot]! - inSlot);
    if (bytes < size) {
      const sizes = `Allocation size: ${this.allocated[slot]! - inSlot}. Mapping size: ${size}.`;
      this.options.log?.add(cpu.now, 'warning', device.name, `Buffer overflow detected. ${sizes}`);
    }
    if (toDevice) this.copy(cpu, original + inSlot, bounce, bytes);
    else this.copy(cpu, bounce, original + inSlot, bytes);
  }

  private copy(cpu: Cpu, from: number, to: number, bytes: number): void {
    const { memory, costs, counters } = this.options;
    for (let done = 0; done < bytes; done += COPY_BYTES) {
      const step = Math.min(COPY_BYTES, bytes - done);
      memory.readBytes(from + done, this.copyBuffer, 0, step);
      memory.writeBytes(to + done, this.copyBuffer, 0, step);
    }
    counters.values[COUNTER.bytesBounced]! += bytes;
    cpu.spend(picoseconds(Math.ceil(bytes / COPY_UNIT_BYTES) * costs.bounceCopyPer64Bytes));
  }

  private complain(cpu: Cpu, device: DmaDevice, size: number, attributes: number): void {
    if ((attributes & DMA_ATTR_NO_WARN) !== 0) return;
    const pool = `total ${this.slots} (slots), used ${this.used} (slots)`;
    const message = `swiotlb buffer is full (sz: ${size} bytes), ${pool}`;
    this.options.log?.add(cpu.now, 'warning', device.name, message);
  }
}
