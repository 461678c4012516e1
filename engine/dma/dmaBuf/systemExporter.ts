/**
 * The plain exporter: pages of RAM that never move, mapped with dma_map_sgtable as the system heap does (Linux
 * drivers/dma-buf/heaps/system_heap.c). A CPU that touches the buffer says so before and after, and bounced or non-coherent
 * mappings are brought up to date.
 * Leaves out: large orders tried first, and the caches of non-coherent CPUs.
 */
import { PAGE_SIZE } from '../../memory/addresses.ts';
import type { FrameAllocator } from '../../memory/frameAllocator.ts';
import type { Cpu } from '../../time/cpu.ts';
import type { EventQueue } from '../../time/eventQueue.ts';
import type { DmaDirection } from '../attributes.ts';
import { ScatterList } from '../scatterList.ts';
import { DmaBuf, type DmaBufAttachment, type DmaBufExporter } from './dmaBuf.ts';
import { appendRange, type PhysicalRange } from './physicalRange.ts';

export interface SystemExporterOptions {
  readonly name: string;
  readonly pages: number;
  readonly frames: FrameAllocator;
  readonly events: EventQueue | null;
}

interface LiveMapping {
  readonly attachment: DmaBufAttachment;
  readonly list: ScatterList;
}

export class SystemExporter implements DmaBufExporter {
  readonly buffer: DmaBuf;
  readonly ranges: readonly PhysicalRange[];
  private readonly frames: FrameAllocator;
  private readonly live: LiveMapping[] = [];

  constructor(options: SystemExporterOptions) {
    const { name, pages, frames, events } = options;
    this.frames = frames;
    const ranges: PhysicalRange[] = [];
    for (let index = 0; index < pages; index += 1)
      appendRange(ranges, frames.allocatePage() * PAGE_SIZE, PAGE_SIZE, null);
    this.ranges = ranges;
    this.buffer = new DmaBuf({ name, size: pages * PAGE_SIZE, exporter: this, events });
  }

  map(cpu: Cpu, attachment: DmaBufAttachment, direction: DmaDirection): ScatterList | number {
    const list = new ScatterList(this.ranges.length);
    for (const { phys, length } of this.ranges) list.add(phys, length);
    const result = attachment.api.dmaMapSg(cpu, attachment.device, list, direction, 0);
    if (result < 0) return result;
    this.live.push({ attachment, list });
    return list;
  }

  unmap(cpu: Cpu, attachment: DmaBufAttachment, list: ScatterList, direction: DmaDirection): void {
    const index = this.live.findIndex((mapping) => mapping.list === list);
    this.live.splice(index, 1);
    attachment.api.dmaUnmapSg(cpu, attachment.device, list, direction, 0);
  }

  getRanges(): readonly PhysicalRange[] {
    return this.ranges;
  }

  /** `dma_buf_begin_cpu_access`: what devices wrote becomes what the CPU reads. */
  beginCpuAccess(cpu: Cpu, direction: DmaDirection): void {
    for (const { attachment, list } of this.live) {
      attachment.api.dmaSyncSgForCpu(cpu, attachment.device, list, direction);
    }
  }

  /** `dma_buf_end_cpu_access`. */
  endCpuAccess(cpu: Cpu, direction: DmaDirection): void {
    for (const { attachment, list } of this.live) {
      attachment.api.dmaSyncSgForDevice(cpu, attachment.device, list, direction);
    }
  }

  release(): void {
    for (const { phys, length } of this.ranges) {
      for (let page = phys / PAGE_SIZE; page < (phys + length) / PAGE_SIZE; page += 1) this.frames.freePage(page);
    }
  }
}
