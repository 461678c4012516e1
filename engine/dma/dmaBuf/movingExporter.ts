/**
 * The exporter whose buffer moves: pages lie in RAM or in the device's own memory, in any mixture, and migrate while others
 * have them mapped, as a GPU's do (Linux drivers/gpu/drm/amd/amdgpu/amdgpu_dma_buf.c, drivers/gpu/drm/ttm). A move tells
 * importers, waits for the fences, and copies; old pages stay until the last mapping of them is gone. An importer that can't
 * reach the device's memory, or that pins, finds the buffer in RAM; where asked, a buffer that all importers reach is pinned where it
 * is. The copy is the CPU's, or that of whoever the driver names.
 * Leaves out: eviction by pressure, tiling and compression, links between GPUs that are not PCI Express.
 */
import { PAGE_SIZE } from '../../memory/addresses.ts';
import type { FrameAllocator } from '../../memory/frameAllocator.ts';
import type { P2pdmaProvider } from '../../memory/pageKinds.ts';
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { P2pdmaMapState } from '../../pcie/p2pdma.ts';
import type { Cpu } from '../../time/cpu.ts';
import type { EventHandler, EventQueue } from '../../time/eventQueue.ts';
import type { Picoseconds } from '../../time/picoseconds.ts';
import type { DmaDirection } from '../attributes.ts';
import { EBUSY, ENOMEM } from '../errno.ts';
import { ScatterList } from '../scatterList.ts';
import { DmaBuf, errorOfWait, type DmaBufAttachment, type DmaBufExporter } from './dmaBuf.ts';
import { DmaFence } from './fence.ts';
import { appendRange, type PhysicalRange } from './physicalRange.ts';
import { RESERVATION_USAGE } from './reservation.ts';

export type Placement = 'system' | 'local';

/** Where pages come from. */
export interface PageSource {
  readonly freePages: number;
  allocatePage(): number;
  freePage(page: number): void;
}

/** Who copies pages: 0, and `done` is called from an event when the bytes lie there; or a negative errno. */
export type PageCopier = (cpu: Cpu, from: readonly number[], to: readonly number[], done: () => void) => number;

export interface MovingExporterOptions {
  readonly name: string;
  readonly pages: number;
  /** Where RAM comes from. */
  readonly system: FrameAllocator;
  /** The device's memory behind its BAR, and how peers know it. */
  readonly local: { readonly frames: PageSource; readonly provider: P2pdmaProvider };
  readonly memory: PhysicalMemory;
  readonly events: EventQueue | null;
  /** How long a copy takes; null: it is done when the call returns. Otherwise a kernel fence stands for it. */
  readonly copyTime?: Picoseconds | null;
  /** Copies instead of the CPU, and takes its own time; needs `events`. */
  readonly copier?: PageCopier;
  /** Where all of it lies at first; default: RAM. */
  readonly placement?: Placement;
  /** A pin leaves the buffer in the device's memory as long as all importers reach it there. */
  readonly pinsLocal?: boolean;
}

interface Page {
  readonly number: number;
  readonly placement: Placement;
}

/** Pages of the past, kept while a copy reads them or a mapping shows them. */
interface Retired {
  readonly pages: readonly Page[];
  copying: boolean;
}

/** The buffer between two moves. */
interface Generation {
  users: number;
  /** What the move that ended it left behind. */
  retired: Retired | null;
}

interface Copy {
  readonly fence: DmaFence;
  readonly from: readonly Page[];
  readonly to: readonly Page[];
  readonly generation: Generation;
}

export class MovingExporter implements DmaBufExporter, EventHandler {
  readonly buffer: DmaBuf;
  private readonly options: MovingExporterOptions;
  private readonly pages: Page[];
  private readonly users = new Map<ScatterList | readonly PhysicalRange[], Generation>();
  private readonly copies = new Map<number, Copy>();
  /** Oldest first; the last is the present. */
  private readonly generations: Generation[] = [{ users: 0, retired: null }];
  private pins = 0;
  private nextCopy = 1;

  constructor(options: MovingExporterOptions) {
    this.options = options;
    const { placement = 'system' } = options;
    this.pages = Array.from({ length: options.pages }, () => ({
      number: this.framesOf(placement).allocatePage(),
      placement,
    }));
    const { name, events } = options;
    this.buffer = new DmaBuf({ name, size: options.pages * PAGE_SIZE, exporter: this, events });
  }

  get pinned(): boolean {
    return this.pins > 0;
  }

  /** Where a byte of the buffer lies now. */
  physOf(offset: number): number {
    return this.pages[Math.floor(offset / PAGE_SIZE)]!.number * PAGE_SIZE + (offset % PAGE_SIZE);
  }

  /** Through the CPU's mapping (`vmap`); copies under way are for whoever asks to wait for. */
  read(offset: number, target: Uint8Array): void {
    this.access(offset, target, false);
  }

  write(offset: number, source: Uint8Array): void {
    this.access(offset, source, true);
  }

  placementOf(page: number): Placement {
    return this.pages[page]!.placement;
  }

  /** Importers that have no way to the device's memory are served from RAM. */
  attach(attachment: DmaBufAttachment): number {
    const { api, device } = attachment;
    const way = new P2pdmaMapState().resolve(api.p2pdma, this.options.local.provider, device.sourceId);
    if (way === 'not_supported') attachment.peer2peer = false;
    return 0;
  }

  pin(cpu: Cpu): number {
    const stays = this.options.pinsLocal === true && this.buffer.attachments.every(({ peer2peer }) => peer2peer);
    const error = stays ? 0 : this.leaveLocalMemory(cpu);
    if (error === 0) this.pins += 1;
    return error;
  }

  unpin(): void {
    if (this.pins === 0) throw new Error(`${this.buffer.name} is unpinned more often than pinned`);
    this.pins -= 1;
  }

  map(cpu: Cpu, attachment: DmaBufAttachment, direction: DmaDirection): ScatterList | number {
    const error = attachment.peer2peer ? 0 : this.leaveLocalMemory(cpu);
    if (error !== 0) return error;
    const ranges = this.currentRanges();
    const list = new ScatterList(ranges.length);
    for (const { phys, length } of ranges) list.add(phys, length);
    const result = attachment.api.dmaMapSg(cpu, attachment.device, list, direction, 0);
    if (result < 0) return result;
    this.use(list);
    return list;
  }

  unmap(cpu: Cpu, attachment: DmaBufAttachment, list: ScatterList, direction: DmaDirection): void {
    attachment.api.dmaUnmapSg(cpu, attachment.device, list, direction, 0);
    this.drop(list);
  }

  getRanges(cpu: Cpu, attachment: DmaBufAttachment): readonly PhysicalRange[] | number {
    const error = attachment.peer2peer ? 0 : this.leaveLocalMemory(cpu);
    if (error !== 0) return error;
    const ranges = this.currentRanges();
    this.use(ranges);
    return ranges;
  }

  putRanges(_cpu: Cpu, _attachment: DmaBufAttachment, ranges: readonly PhysicalRange[]): void {
    this.drop(ranges);
  }

  /** Moves pages [first, first + count): 0, or the errno for which they stayed where they were. */
  migrate(cpu: Cpu, first: number, count: number, placement: Placement): number {
    return this.buffer.reservation.withLock(() => this.migrateLocked(cpu, first, count, placement));
  }

  /** The copy of a move has ended, which the CPU makes at its end. */
  handleEvent(_kind: number, index: number): void {
    const copy = this.copies.get(index);
    if (copy === undefined) return;
    this.copyPages(copy.from, copy.to);
    this.copied(index);
  }

  private copied(index: number): void {
    const copy = this.copies.get(index)!;
    this.copies.delete(index);
    copy.fence.signal(this.options.events!.now);
    copy.generation.retired!.copying = false;
    this.freeRetired();
  }

  release(): void {
    if (this.copies.size > 0) throw new Error(`${this.buffer.name} is released during a copy`);
    for (const page of this.pages) this.freePage(page);
    this.pages.length = 0;
  }

  private access(offset: number, bytes: Uint8Array, write: boolean): void {
    const { memory } = this.options;
    for (let done = 0; done < bytes.length;) {
      const step = Math.min(bytes.length - done, PAGE_SIZE - ((offset + done) % PAGE_SIZE));
      const phys = this.physOf(offset + done);
      if (write) memory.writeBytes(phys, bytes, done, step);
      else memory.readBytes(phys, bytes, done, step);
      done += step;
    }
  }

  private migrateLocked(cpu: Cpu, first: number, count: number, placement: Placement): number {
    const { buffer, pages } = this;
    const moving: number[] = [];
    for (let index = first; index < first + count; index += 1) {
      if (pages[index]!.placement !== placement) moving.push(index);
    }
    if (moving.length === 0) return 0;
    if (this.pinned) return EBUSY;
    const frames = this.framesOf(placement);
    if (frames.freePages < moving.length) return ENOMEM;
    buffer.invalidateMappings(cpu);
    // devices may go on with what they had begun until their fences say otherwise, and so may an earlier copy
    const error = errorOfWait(buffer.reservation.wait(cpu, RESERVATION_USAGE.bookkeep, buffer.events));
    if (error !== 0) return error;
    const from = moving.map((index) => pages[index]!);
    const to = moving.map(() => ({ number: frames.allocatePage(), placement }));
    const index = this.nextCopy;
    const failed = this.copyByDevice(cpu, from, to, index);
    if (failed !== 0) {
      for (const page of to) this.freePage(page);
      return failed;
    }
    for (const [position, index] of moving.entries()) pages[index] = to[position]!;
    const generation = this.generations.at(-1)!;
    generation.retired = { pages: from, copying: true };
    this.generations.push({ users: 0, retired: null });
    this.startCopy(cpu, from, to, generation);
    return 0;
  }

  private copyByDevice(cpu: Cpu, from: readonly Page[], to: readonly Page[], index: number): number {
    const numbers = (pages: readonly Page[]): number[] => pages.map(({ number }) => number);
    return this.options.copier?.(cpu, numbers(from), numbers(to), () => this.copied(index)) ?? 0;
  }

  private startCopy(cpu: Cpu, from: readonly Page[], to: readonly Page[], generation: Generation): void {
    const { events, copyTime, copier } = this.options;
    const timed = copyTime !== undefined && copyTime !== null;
    if (events === null || (!timed && copier === undefined)) {
      this.copyPages(from, to);
      generation.retired!.copying = false;
      this.freeRetired();
      return;
    }
    const index = this.nextCopy;
    this.nextCopy += 1;
    const fence = new DmaFence(0, index, `copy ${String(index)} of ${this.buffer.name}`);
    this.buffer.reservation.addFence(fence, RESERVATION_USAGE.kernel);
    this.copies.set(index, { fence, from, to, generation });
    if (copier !== undefined) return;
    events.schedule((Math.max(cpu.now, events.now) + copyTime!) as Picoseconds, this, 0, index);
  }

  /** Brings all pages to RAM; the lock is held. */
  private leaveLocalMemory(cpu: Cpu): number {
    return this.migrateLocked(cpu, 0, this.pages.length, 'system');
  }

  private currentRanges(): PhysicalRange[] {
    const ranges: PhysicalRange[] = [];
    for (const { number, placement } of this.pages) {
      appendRange(ranges, number * PAGE_SIZE, PAGE_SIZE, placement === 'local' ? this.options.local.provider : null);
    }
    return ranges;
  }

  private use(mapping: ScatterList | readonly PhysicalRange[]): void {
    const generation = this.generations.at(-1)!;
    generation.users += 1;
    this.users.set(mapping, generation);
  }

  private drop(mapping: ScatterList | readonly PhysicalRange[]): void {
    const generation = this.users.get(mapping);
    if (generation === undefined) throw new Error(`a mapping that ${this.buffer.name} never gave is taken back`);
    this.users.delete(mapping);
    generation.users -= 1;
    this.freeRetired();
  }

  /** A mapping shows pages of its own generation and of earlier moves' survivors, so the oldest user keeps what came after. */
  private freeRetired(): void {
    const { generations } = this;
    while (generations.length > 1) {
      const { users, retired } = generations[0]!;
      if (users > 0 || retired === null || retired.copying) return;
      for (const page of retired.pages) this.freePage(page);
      generations.shift();
    }
  }

  private copyPages(from: readonly Page[], to: readonly Page[]): void {
    const { memory } = this.options;
    const bytes = new Uint8Array(PAGE_SIZE);
    for (const [index, page] of from.entries()) {
      memory.readBytes(page.number * PAGE_SIZE, bytes, 0, PAGE_SIZE);
      memory.writeBytes(to[index]!.number * PAGE_SIZE, bytes, 0, PAGE_SIZE);
    }
  }

  private framesOf(placement: Placement): PageSource {
    return placement === 'system' ? this.options.system : this.options.local.frames;
  }

  private freePage(page: Page): void {
    this.framesOf(page.placement).freePage(page.number);
  }
}
