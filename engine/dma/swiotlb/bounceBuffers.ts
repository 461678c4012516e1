/**
 * Bouncing behind an IOMMU (Linux drivers/iommu/dma-iommu.c: `dev_use_swiotlb`, `dev_use_sg_swiotlb`, `iova_unaligned`,
 * `iommu_dma_map_swiotlb`). The IOMMU protects whole pages only: an untrusted device would see the bytes beside a buffer
 * that begins or ends inside a page, and a device that is not coherent would lose bytes that share a cache line with a small
 * object. Such buffers, and nothing else, move to a page of their own.
 */
import type { PageKinds } from '../../memory/pageKinds.ts';
import { PAGE_SIZE } from '../../memory/addresses.ts';
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import type { EventLog } from '../../metrics/eventLog.ts';
import type { Cpu } from '../../time/cpu.ts';
import { DMA_TO_DEVICE, type DmaDirection } from '../attributes.ts';
import type { DmaDevice } from '../device.ts';
import { PAGE_OFFSET } from '../pageOffset.ts';
import { NO_BOUNCE_BUFFER, type Swiotlb } from './swiotlb.ts';

const ZEROS = new Uint8Array(PAGE_SIZE);

export interface BounceBuffersOptions {
  readonly device: DmaDevice;
  readonly memory: PhysicalMemory;
  readonly swiotlb: Swiotlb | null;
  readonly pageKinds: PageKinds | null;
  readonly log: EventLog | null;
}

export class BounceBuffers {
  private readonly device: DmaDevice;
  private readonly memory: PhysicalMemory;
  private readonly swiotlb: Swiotlb | null;
  private readonly pageKinds: PageKinds | null;
  private readonly log: EventLog | null;
  private complained = false;

  constructor(options: BounceBuffersOptions) {
    this.device = options.device;
    this.memory = options.memory;
    this.swiotlb = options.swiotlb;
    this.pageKinds = options.pageKinds;
    this.log = options.log;
  }

  /** `dev_use_swiotlb`: whether a mapping of this memory that is not made of whole pages must be bounced. */
  eligible(phys: number, direction: DmaDirection): boolean {
    const { device, pageKinds } = this;
    if (device.untrusted) return true;
    if (device.coherent || direction === DMA_TO_DEVICE || pageKinds === null) return false;
    return pageKinds.isKmallocSmall(Math.floor(phys / PAGE_SIZE));
  }

  /** Whether this buffer is bounced: eligible, and not made of whole pages. */
  needed(phys: number, size: number, direction: DmaDirection): boolean {
    return this.eligible(phys, direction) && ((phys | size) & PAGE_OFFSET) !== 0;
  }

  /**
   * `iommu_dma_map_swiotlb`: the physical address of a buffer with the same bytes, or NO_BOUNCE_BUFFER. The pages of the
   * buffer hold nothing else that an untrusted device might read.
   */
  map(cpu: Cpu, phys: number, size: number, direction: DmaDirection, attributes: number): number {
    const { swiotlb, device } = this;
    if (swiotlb === null) {
      if (!this.complained) {
        const message = 'DMA bounce buffers are inactive, unable to map unaligned transaction.';
        this.log?.add(cpu.now, 'warning', device.name, message);
      }
      this.complained = true;
      return NO_BOUNCE_BUFFER;
    }
    const bounce = swiotlb.map(cpu, device, phys, size, PAGE_OFFSET, direction, attributes);
    if (bounce !== NO_BOUNCE_BUFFER && device.untrusted) this.zeroAround(bounce, size);
    return bounce;
  }

  /** `swiotlb_tbl_unmap_single`: nothing happens to memory that is no bounce buffer. */
  unmap(cpu: Cpu, phys: number, size: number, direction: DmaDirection, attributes: number): void {
    const { swiotlb, device } = this;
    if (swiotlb?.contains(phys) === true) swiotlb.unmap(cpu, device, phys, size, direction, attributes);
  }

  syncForCpu(cpu: Cpu, phys: number, size: number, direction: DmaDirection): void {
    const { swiotlb, device } = this;
    if (swiotlb?.contains(phys) === true) swiotlb.syncForCpu(cpu, device, phys, size, direction);
  }

  syncForDevice(cpu: Cpu, phys: number, size: number, direction: DmaDirection): void {
    const { swiotlb, device } = this;
    if (swiotlb?.contains(phys) === true) swiotlb.syncForDevice(cpu, device, phys, size, direction);
  }

  private zeroAround(bounce: number, size: number): void {
    const before = bounce & PAGE_OFFSET;
    this.memory.writeBytes(bounce - before, ZEROS, 0, before);
    const end = bounce + size;
    const inLastPage = end & PAGE_OFFSET;
    if (inLastPage !== 0) this.memory.writeBytes(end, ZEROS, 0, PAGE_SIZE - inLastPage);
  }
}
