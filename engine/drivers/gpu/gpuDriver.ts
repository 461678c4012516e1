/**
 * A GPU's driver as far as its memory goes: it owns the pages behind the BAR, registers them as memory of a P2PDMA provider, copies
 * by the device's engine what it has mapped for it, and exports buffers that move, that stay, or that can be revoked (Linux
 * drivers/gpu/drm/amd/amdgpu/amdgpu_ttm.c `amdgpu_ttm_copy_mem_to_mem`, amdgpu_dma_buf.c; drivers/pci/p2pdma.c
 * `pci_p2pdma_add_resource`).
 * Leaves out: contexts and queues of programs, choosing what to evict, page tables of the device.
 */
import type { CopyPlace, CopySegment } from '../../devices/gpu/copyEngine.ts';
import type { Gpu } from '../../devices/gpu/gpu.ts';
import { DMA_FROM_DEVICE, DMA_TO_DEVICE } from '../../dma/attributes.ts';
import type { DmaDevice } from '../../dma/device.ts';
import { BarExporter } from '../../dma/dmaBuf/barExporter.ts';
import { MovingExporter, type MovingExporterOptions } from '../../dma/dmaBuf/movingExporter.ts';
import type { DmaApi } from '../../dma/dmaApi.ts';
import { ENOMEM } from '../../dma/errno.ts';
import { PAGE_SIZE } from '../../memory/addresses.ts';
import type { FrameAllocator } from '../../memory/frameAllocator.ts';
import type { PageKinds, P2pdmaProvider } from '../../memory/pageKinds.ts';
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import type { EventLog } from '../../metrics/eventLog.ts';
import type { PortTree } from '../../pcie/portTree.ts';
import type { Cpu } from '../../time/cpu.ts';
import type { Picoseconds } from '../../time/picoseconds.ts';
import { BlockAllocator } from './blockAllocator.ts';

export interface GpuDriverMachine {
  readonly api: DmaApi;
  readonly memory: PhysicalMemory;
  readonly frames: FrameAllocator;
  readonly tree: PortTree;
  readonly kinds: PageKinds;
  readonly log: EventLog | null;
}

/** RAM that is mapped for the copy engine during one command. */
interface Mapped {
  readonly address: number;
  readonly direction: typeof DMA_TO_DEVICE | typeof DMA_FROM_DEVICE;
}

export class GpuDriver {
  readonly gpu: Gpu;
  readonly provider: P2pdmaProvider;
  readonly blocks: BlockAllocator;
  private readonly machine: GpuDriverMachine;
  private readonly device: DmaDevice;
  /** First page of each buffer that stays. */
  private readonly fixed = new Map<BarExporter, number>();

  /** `firstBusPage`: where peers find the memory; default: at its CPU physical address. */
  constructor(gpu: Gpu, device: DmaDevice, machine: GpuDriverMachine, firstBusPage = gpu.memory.firstPage) {
    const { firstPage, pages } = gpu.memory;
    this.gpu = gpu;
    this.device = device;
    this.machine = machine;
    this.provider = gpu.publish(machine.tree, machine.kinds, firstBusPage);
    this.blocks = new BlockAllocator(machine.memory, firstPage, pages, gpu.node.name);
  }

  /**
   * Copies page by page in one command, between RAM and the GPU or inside the GPU; `done` hears from the interrupt how many requests
   * were refused, after everything is unmapped. 0, or -ENOMEM with nothing mapped and nothing begun.
   */
  copyPages(cpu: Cpu, from: readonly number[], to: readonly number[], done: (refused: number) => void): number {
    const { events, copyEngine } = this.gpu;
    const mapped: Mapped[] = [];
    const segments: CopySegment[] = [];
    for (const [index, page] of from.entries()) {
      const source = this.placeOf(cpu, page, DMA_TO_DEVICE, mapped);
      const target = source === null ? null : this.placeOf(cpu, to[index]!, DMA_FROM_DEVICE, mapped);
      if (source === null || target === null) {
        this.unmap(cpu, mapped);
        return ENOMEM;
      }
      segments.push({ from: source, to: target, bytes: PAGE_SIZE });
    }
    copyEngine.submit(segments, Math.max(cpu.now, events.now) as Picoseconds, (refused) => {
      cpu.begin(events.now);
      this.unmap(cpu, mapped);
      done(refused);
    });
    return 0;
  }

  /** A buffer that moves between RAM, where it begins unless told otherwise, and the GPU; copies are the engine's. */
  exportMoving(
    name: string,
    pages: number,
    options: Pick<MovingExporterOptions, 'pinsLocal' | 'placement'> = {},
  ): MovingExporter {
    const { memory, frames } = this.machine;
    return new MovingExporter({
      name,
      pages,
      system: frames,
      local: { frames: this.blocks, provider: this.provider },
      memory,
      events: this.gpu.events,
      ...options,
      copier: (cpu, from, to, done) =>
        this.copyPages(cpu, from, to, (refused) => {
          if (refused > 0) throw new Error(`${name}: ${String(refused)} requests of a move were refused`);
          done();
        }),
    });
  }

  /**
   * A buffer of 2^order pages that stays in the GPU and can be revoked: only importers that do peer to peer and let go are
   * served. `freeFixed` takes it back.
   */
  exportFixed(name: string, order: number): BarExporter {
    const first = this.blocks.allocateBlock(order);
    const { provider, machine } = this;
    const vectors = [{ phys: first * PAGE_SIZE, length: 2 ** order * PAGE_SIZE }];
    const exporter = new BarExporter({ name, provider, vectors, events: this.gpu.events, log: machine.log });
    this.fixed.set(exporter, first);
    return exporter;
  }

  freeFixed(cpu: Cpu, exporter: BarExporter): void {
    const firstPage = this.fixed.get(exporter);
    if (firstPage === undefined) throw new Error(`${exporter.buffer.name} is no buffer of ${this.gpu.node.name}`);
    this.fixed.delete(exporter);
    exporter.buffer.release(cpu);
    this.blocks.freeBlock(firstPage, Math.log2(exporter.buffer.size / PAGE_SIZE));
  }

  private placeOf(cpu: Cpu, page: number, direction: Mapped['direction'], mapped: Mapped[]): CopyPlace | null {
    const phys = page * PAGE_SIZE;
    const offset = this.gpu.memory.offsetOf(phys);
    if (offset >= 0) return { space: 'device', address: offset };
    const { api } = this.machine;
    const address = api.dmaMapPhys(cpu, this.device, phys, PAGE_SIZE, direction, 0);
    if (api.dmaMappingError(this.device, address)) return null;
    mapped.push({ address, direction });
    return { space: 'bus', address };
  }

  private unmap(cpu: Cpu, mapped: readonly Mapped[]): void {
    const { api } = this.machine;
    for (const { address, direction } of mapped) api.dmaUnmapPhys(cpu, this.device, address, PAGE_SIZE, direction, 0);
  }
}
