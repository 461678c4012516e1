/**
 * A driver for property tests: makes calls of every kind at random from several CPUs, lets its device read and write through
 * what it mapped, and holds a naive model beside the DMA API. The model knows three things: which bus pages are in use and
 * by which mapping, what the device wrote and the CPU must therefore find, and what must be gone after an unmap.
 * It keeps the rules of the API (directions, sync before the CPU looks, one unmap for one map), so any complaint is the API's.
 */
import { DMA_MAPPING_ERROR, PAGE_SIZE } from '../memory/addresses.ts';
import type { ByteMemory } from '../memory/byteMemory.ts';
import type { PhysicalMemory } from '../memory/physicalMemory.ts';
import type { Cpu } from '../time/cpu.ts';
import { RandomStream } from '../time/random.ts';
import {
  deviceMayRead,
  deviceMayWrite,
  DMA_BIDIRECTIONAL,
  DMA_FROM_DEVICE,
  DMA_TO_DEVICE,
  type DmaDirection,
} from './attributes.ts';
import type { DmaDevice } from './device.ts';
import type { CoherentMemory } from './coherentMemory.ts';
import type { DmaApi } from './dmaApi.ts';
import { ScatterList } from './scatterList.ts';
import { fromInside, pagesOf, segmentsToPieces, whole, type Piece, type Run } from './testPieces.ts';
import { DmaIovaState } from './twoStep.ts';

const DIRECTIONS: readonly DmaDirection[] = [DMA_BIDIRECTIONAL, DMA_TO_DEVICE, DMA_FROM_DEVICE];
const MAX_LIVE = 96;
const MAX_PAGES = 40;
const BYTES_PER_ACCESS = 16;

export interface RandomDriverOptions {
  readonly api: DmaApi;
  readonly device: DmaDevice;
  readonly cpus: readonly Cpu[];
  /** Memory as the CPUs see it. */
  readonly memory: PhysicalMemory;
  /** Memory as the root complex sees it for the device. */
  readonly deviceMemory: ByteMemory;
  readonly seed: number;
  /** Pages that the driver may use as buffers. */
  readonly firstBufferPage: number;
  readonly bufferPages: number;
  /** Pages of a peer that scatterlists mix with memory. */
  readonly peerPages?: { readonly first: number; readonly count: number };
  /** Whether addresses are translated: then no two live mappings may share a bus page. */
  readonly translated: boolean;
  /** Bus pages that no mapping made, and no unmap takes away: a peer's, below the IOMMU. */
  readonly untranslated?: (busPage: number) => boolean;
  /** Whether an unmap makes its pages unreachable before it returns. */
  readonly strict: boolean;
  /** The device: a page of the bus to a page of memory, through whatever caches there are; -1 for a fault. */
  readonly reach: (busPage: number, write: boolean) => number;
  readonly timer: (cpu: Cpu) => void;
}

interface Mapping {
  readonly kind: 'single' | 'scatterlist' | 'two_step' | 'coherent';
  readonly direction: DmaDirection;
  readonly pages: readonly number[];
  readonly pieces: readonly Piece[];
  readonly busPages: readonly number[];
  /** What the device wrote and the CPU must find: physical byte address to value. */
  readonly written: Map<number, number>;
  readonly unmap: (cpu: Cpu) => void;
}

export class RandomDriver {
  /** Calls of the DMA API so far. */
  calls = 0;
  /** What went wrong, in words; empty in a sound system. */
  readonly problems: string[] = [];
  /** Device accesses that reached memory. */
  accesses = 0;
  /** Mappings that the API refused, for want of space. */
  refused = 0;
  private readonly options: RandomDriverOptions;
  private readonly random: RandomStream;
  private readonly live: Mapping[] = [];
  private readonly busOwner = new Map<number, Mapping>();
  private readonly freePages: number[];
  private readonly freePeerPages: number[];
  private readonly scratch = new Uint8Array(BYTES_PER_ACCESS);

  constructor(options: RandomDriverOptions) {
    this.options = options;
    this.random = new RandomStream(options.seed);
    this.freePages = Array.from({ length: options.bufferPages }, (_, index) => options.firstBufferPage + index);
    const { first, count } = options.peerPages ?? { first: 0, count: 0 };
    this.freePeerPages = Array.from({ length: count }, (_, index) => first + index);
  }

  run(calls: number): void {
    while (this.calls < calls) this.step();
    while (this.live.length > 0) this.unmapOne(this.anyCpu(), this.live.length - 1);
    for (const cpu of this.options.cpus) this.options.timer(cpu);
  }

  private step(): void {
    const cpu = this.anyCpu();
    const choice = this.random.below(100);
    if (choice === 0) this.options.timer(cpu);
    else if (this.live.length > 0 && (choice < 25 || this.live.length >= MAX_LIVE)) {
      this.unmapOne(cpu, this.random.below(this.live.length));
    } else if (this.live.length > 0 && choice < 55) {
      this.useDevice(cpu, this.live[this.random.below(this.live.length)]!);
    } else this.mapOne(cpu);
  }

  private mapOne(cpu: Cpu): void {
    const kind = (['single', 'single', 'scatterlist', 'two_step', 'coherent'] as const)[this.random.below(5)]!;
    const direction = DIRECTIONS[this.random.below(3)]!;
    const mapping =
      kind === 'single'
        ? this.mapSingle(cpu, direction)
        : kind === 'scatterlist'
          ? this.mapScatterList(cpu, direction)
          : kind === 'two_step'
            ? this.mapTwoStep(cpu, direction)
            : this.allocateCoherent(cpu);
    if (mapping === null) {
      this.refused += 1;
      return;
    }
    this.live.push(mapping);
    if (!this.options.translated) return;
    for (const page of mapping.busPages) {
      if (this.busOwner.has(page)) this.complain(`bus page ${page.toString(16)} given out twice (${mapping.kind})`);
      this.busOwner.set(page, mapping);
    }
  }

  private mapSingle(cpu: Cpu, direction: DmaDirection): Mapping | null {
    const { api, device } = this.options;
    const run = this.takeRun(1 + this.random.below(4));
    const { phys, length } = this.cut(run);
    const pages = pagesOf(run);
    this.fill(phys, length);
    this.calls += 1;
    const address = api.dmaMapPhys(cpu, device, phys, length, direction, 0);
    if (address === DMA_MAPPING_ERROR) return this.giveBack(pages);
    return this.mapping('single', direction, pages, [{ phys, address, length }], (unmapper) => {
      this.calls += 1;
      api.dmaUnmapPhys(unmapper, device, address, length, direction, 0);
    });
  }

  private mapScatterList(cpu: Cpu, direction: DmaDirection): Mapping | null {
    const { api, device } = this.options;
    const list = new ScatterList(8);
    const pages: number[] = [];
    const entries = 1 + this.random.below(8);
    for (let entry = 0; entry < entries; entry += 1) {
      const fromPeer = this.freePeerPages.length > 0 && this.random.below(3) === 0;
      const run: Run = fromPeer ? [this.freePeerPages.pop()!, 1] : this.takeRun(1 + this.random.below(2));
      pages.push(...pagesOf(run));
      const { phys, length } = this.random.below(3) === 0 ? this.cut(run) : whole(run);
      this.fill(phys, length);
      list.add(phys, length);
    }
    this.calls += 1;
    if (api.dmaMapSg(cpu, device, list, direction, 0) <= 0) return this.giveBack(pages);
    return this.mapping('scatterlist', direction, pages, segmentsToPieces(list), (unmapper) => {
      this.calls += 1;
      api.dmaUnmapSg(unmapper, device, list, direction, 0);
    });
  }

  /** Only the first piece may start inside a page, and only the last may end inside one. */
  private mapTwoStep(cpu: Cpu, direction: DmaDirection): Mapping | null {
    const { api, device } = this.options;
    const state = new DmaIovaState();
    const runs = Array.from({ length: 1 + this.random.below(6) }, () => this.takeRun(1 + this.random.below(3)));
    const pages = runs.flatMap((run) => pagesOf(run));
    const memory = runs.map((run) => whole(run));
    if (this.random.below(3) === 0) memory[0] = fromInside(memory[0]!, this.random.below(PAGE_SIZE));
    const last = memory.length - 1;
    if (this.random.below(3) === 0) {
      memory[last] = { ...memory[last]!, length: memory[last]!.length - this.random.below(PAGE_SIZE - 1) };
      if (memory[last].length < 1) memory[last] = whole(runs[last]!);
    }
    const total = memory.reduce((sum, { length }) => sum + length, 0);
    this.calls += 1;
    if (!api.dmaIovaTryAlloc(cpu, device, state, memory[0]!.phys, total)) return this.giveBack(pages);
    const pieces: Piece[] = [];
    let offset = 0;
    for (const { phys, length } of memory) {
      this.fill(phys, length);
      this.calls += 1;
      const error = api.dmaIovaLink(cpu, device, state, phys, offset, length, direction, 0);
      if (error !== 0) this.complain(`dma_iova_link failed: ${String(error)}`);
      pieces.push({ phys, address: state.address + offset, length });
      offset += length;
    }
    this.calls += 1;
    if (api.dmaIovaSync(cpu, device, state, 0, total) !== 0) this.complain('dma_iova_sync failed');
    const piecewise = this.random.below(4) === 0;
    return this.mapping('two_step', direction, pages, pieces, (unmapper) => {
      this.calls += 1;
      if (!piecewise) {
        api.dmaIovaDestroy(unmapper, device, state, total, direction, 0);
        return;
      }
      for (const piece of pieces) {
        this.calls += 1;
        const at = piece.address - state.address;
        api.dmaIovaUnlink(unmapper, device, state, at, piece.length, direction, 0);
      }
      api.dmaIovaFree(unmapper, device, state);
    });
  }

  private allocateCoherent(cpu: Cpu): Mapping | null {
    const { api, device } = this.options;
    const size = 1 + this.random.below(4 * PAGE_SIZE);
    this.calls += 1;
    const memory: CoherentMemory | null = api.dmaAllocCoherent(cpu, device, size);
    if (memory === null) return null;
    const piece = { phys: memory.phys, address: memory.address, length: size };
    return this.mapping('coherent', DMA_BIDIRECTIONAL, [], [piece], (unmapper) => {
      this.calls += 1;
      api.dmaFreeCoherent(unmapper, device, size, memory);
    });
  }

  /** The device writes or reads a few bytes somewhere in a mapping; the CPU then looks, after the sync that the API asks for. */
  private useDevice(cpu: Cpu, mapping: Mapping): void {
    const piece = mapping.pieces[this.random.below(mapping.pieces.length)]!;
    const length = Math.min(1 + this.random.below(BYTES_PER_ACCESS), piece.length);
    const at = this.random.below(piece.length - length + 1);
    const write =
      deviceMayWrite(mapping.direction) && (this.random.below(2) === 0 || !deviceMayRead(mapping.direction));
    for (let index = 0; index < length; index += 1) {
      const phys = piece.phys + at + index;
      const reached = this.deviceByte(piece.address + at + index, write);
      if (reached === null) {
        this.complain(`${mapping.kind}: the device faults at ${(piece.address + at + index).toString(16)}`);
        return;
      }
      if (write) mapping.written.set(phys, reached);
      else if (reached !== this.byteAt(phys)) {
        // the CPU's own bytes are what the device reads, unless the device wrote there and nobody has synced yet
        if (mapping.written.get(phys) !== reached) this.complain(`${mapping.kind}: the device reads a wrong byte`);
      }
    }
    if (write && mapping.kind !== 'coherent') this.syncForCpu(cpu, mapping, piece);
    // pieces of the two-step API have no sync for the CPU: bounced edges are copied back when they are unlinked
    if (write && mapping.kind !== 'two_step') this.checkWritten(mapping, `${mapping.kind} after sync`, piece);
  }

  private syncForCpu(cpu: Cpu, mapping: Mapping, piece: Piece): void {
    const { api, device } = this.options;
    if (mapping.kind === 'two_step') return;
    this.calls += 1;
    api.dmaSyncSingleForCpu(cpu, device, piece.address, piece.length, mapping.direction);
  }

  /** Null: a fault. For a write, the byte written; for a read, the byte found. */
  private deviceByte(address: number, write: boolean): number | null {
    const { reach, deviceMemory } = this.options;
    const page = reach(Math.floor(address / PAGE_SIZE), write);
    if (page === -1) return null;
    this.accesses += 1;
    const phys = page * PAGE_SIZE + (address % PAGE_SIZE);
    if (write) {
      this.scratch[0] = this.random.below(256);
      deviceMemory.writeBytes(phys, this.scratch, 0, 1);
    } else {
      deviceMemory.readBytes(phys, this.scratch, 0, 1);
    }
    return this.scratch[0]!;
  }

  private checkWritten(mapping: Mapping, when: string, piece?: Piece): void {
    for (const [phys, value] of mapping.written) {
      if (piece !== undefined && (phys < piece.phys || phys >= piece.phys + piece.length)) continue;
      if (this.byteAt(phys) !== value) {
        this.complain(`${when}: the CPU finds another byte at ${phys.toString(16)} than the device wrote`);
        return;
      }
    }
  }

  private unmapOne(cpu: Cpu, index: number): void {
    const mapping = this.live[index]!;
    const last = this.live.pop()!;
    if (last !== mapping) this.live[index] = last;
    // before the unmap: the API may give the same bus pages to nobody else until it returns
    for (const page of mapping.busPages) this.busOwner.delete(page);
    mapping.unmap(cpu);
    if (mapping.kind !== 'coherent') this.checkWritten(mapping, `${mapping.kind} after unmap`);
    if (this.options.translated && this.options.strict) {
      for (const page of mapping.busPages) {
        if (this.options.reach(page, false) !== -1 || this.options.reach(page, true) !== -1) {
          this.complain(`${mapping.kind}: the device still reaches bus page ${page.toString(16)} after the unmap`);
          break;
        }
      }
    }
    this.returnPages(mapping.pages);
  }

  private mapping(
    kind: Mapping['kind'],
    direction: DmaDirection,
    pages: readonly number[],
    pieces: readonly Piece[],
    unmap: (cpu: Cpu) => void,
  ): Mapping {
    const busPages = new Set<number>();
    const { untranslated } = this.options;
    for (const { address, length } of pieces) {
      const last = Math.floor((address + length - 1) / PAGE_SIZE);
      for (let page = Math.floor(address / PAGE_SIZE); page <= last; page += 1) {
        if (untranslated?.(page) !== true) busPages.add(page);
      }
    }
    return { kind, direction, pages, pieces, busPages: [...busPages], written: new Map(), unmap };
  }

  private takeRun(wanted: number): Run {
    const at = this.random.below(this.freePages.length - MAX_PAGES);
    const first = this.freePages[at]!;
    let pages = 1;
    while (pages < wanted && this.freePages[at + pages] === first + pages) pages += 1;
    this.freePages.splice(at, pages);
    return [first, pages];
  }

  private cut([first, pages]: Run): { phys: number; length: number } {
    const bytes = pages * PAGE_SIZE;
    const from = this.random.below(2) === 0 ? 0 : this.random.below(PAGE_SIZE - 1);
    const length = this.random.below(2) === 0 ? bytes - from : 1 + this.random.below(bytes - from);
    return { phys: first * PAGE_SIZE + from, length };
  }

  private giveBack(pages: readonly number[]): null {
    this.returnPages(pages);
    return null;
  }

  private returnPages(pages: readonly number[]): void {
    const { first, count } = this.options.peerPages ?? { first: 0, count: 0 };
    for (const page of pages) {
      (page >= first && page < first + count ? this.freePeerPages : this.freePages).push(page);
    }
  }

  /** The CPU puts bytes into a buffer before it maps it: the first and the last few. */
  private fill(phys: number, length: number): void {
    const bytes = Math.min(length, BYTES_PER_ACCESS);
    for (let index = 0; index < bytes; index += 1) this.scratch[index] = this.random.below(256);
    this.options.memory.writeBytes(phys, this.scratch, 0, bytes);
    this.options.memory.writeBytes(phys + length - bytes, this.scratch, 0, bytes);
  }

  private byteAt(phys: number): number {
    this.options.memory.readBytes(phys, this.scratch, 1, 1);
    return this.scratch[1]!;
  }

  private anyCpu(): Cpu {
    return this.options.cpus[this.random.below(this.options.cpus.length)]!;
  }

  private complain(problem: string): void {
    if (this.problems.length < 20) this.problems.push(problem);
  }
}
