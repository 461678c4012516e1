/**
 * The driver's half of a receive ring (Linux 6.0 drivers/net/ethernet/mellanox/mlx5/core/en_rx.c: `mlx5e_alloc_rx_mpwqe`,
 * `mlx5e_handle_rx_cqe_mpwrq`, `mlx5e_free_rx_mpwqe`, `mlx5e_rx_cache_put`, `mlx5e_rx_cache_get`; en_tx.c): descriptors of many pages,
 * which are given back when all their packets were taken. A page that is given back goes into a small first-in-first-out cache and stays
 * mapped; it comes out again for a new descriptor if nobody holds it any more. Only while the cache is full are pages unmapped, and
 * while the page at its head is held new ones are mapped. So few unmaps while applications keep up, and one for every page when they
 * lag. `contiguous`: one range of IOVA for each descriptor, mapped and unmapped as a whole, and no cache, as F&S (SOSP'24) changed it.
 * Work is cut into pieces, one a call of `step`, so that other CPUs and the adapter come between them.
 * Leaves out: the adapter's own table of pages (UMR), header split, page_pool's cache of free pages.
 */
import { COMPLETION_BYTES, SEND_ENTRY_BYTES, type ReceiveNic } from '../devices/receiveNic.ts';
import { DMA_FROM_DEVICE, DMA_TO_DEVICE } from '../dma/attributes.ts';
import type { CoherentMemory } from '../dma/coherentMemory.ts';
import type { DmaDevice } from '../dma/device.ts';
import type { DmaApi } from '../dma/dmaApi.ts';
import { DmaIovaState } from '../dma/twoStep.ts';
import { dmaAddr, PAGE_SIZE, physAddr } from '../memory/addresses.ts';
import type { FrameAllocator } from '../memory/frameAllocator.ts';
import type { PhysicalMemory } from '../memory/physicalMemory.ts';
import { Fifo } from '../pcie/fifo.ts';
import type { Cpu } from '../time/cpu.ts';

const ADDRESS_BYTES = 8;
const FOUR_GIB = 2 ** 32;

export interface ReceiveRingOptions {
  readonly api: DmaApi;
  readonly device: DmaDevice;
  readonly memory: PhysicalMemory;
  readonly frames: FrameAllocator;
  readonly nic: ReceiveNic;
  /** Descriptors of the ring, and pages of each. */
  readonly descriptors: number;
  readonly pagesPerDescriptor: number;
  /** Pages that the cache of mapped pages holds. */
  readonly cachedPages: number;
  readonly contiguous: boolean;
  /** Entries of the completion queue and of the send queue. */
  readonly completionEntries: number;
  readonly sendEntries: number;
  /** Frames of which one completion tells. */
  readonly sendBatch: number;
}

/** A page of memory that a ring has, or had until all who hold it are done. */
export class RingPage {
  readonly frame: number;
  address = 0;
  /** The driver, and packets that nobody has read. */
  holders = 1;

  constructor(frame: number) {
    this.frame = frame;
  }
}

/** Takes a packet up the stack; the pages are held for it until it says otherwise. */
export type PacketTaker = (cpu: Cpu, flow: number, pages: readonly RingPage[], offset: number, length: number) => void;

class Descriptor {
  readonly pages: RingPage[] = [];
  readonly range = new DmaIovaState();
}

interface SentFrame {
  readonly address: number;
  readonly bytes: number;
}

export class ReceiveRing {
  readonly index: number;
  private readonly options: ReceiveRingOptions;
  private readonly take: PacketTaker;
  private readonly queue: CoherentMemory;
  private readonly completions: CoherentMemory;
  private readonly sendQueue: CoherentMemory;
  private readonly sendCompletions: CoherentMemory;
  private readonly descriptors: readonly Descriptor[];
  private readonly cache: RingPage[] = [];
  /** Descriptors without pages, in the order in which they were given back. */
  private readonly empty = new Fifo();
  /** The descriptor of the packet that was taken last; the one whose pages are being given back, or -1. */
  private current = 0;
  private releasing = -1;
  private taken = 0;
  private budget = 0;
  private readonly sent: SentFrame[] = [];
  private sentSeen = 0;
  private sendTail = 0;
  private readonly bytes: Uint8Array;
  private readonly view: DataView;

  constructor(cpu: Cpu, options: ReceiveRingOptions, take: PacketTaker) {
    const { nic, descriptors, pagesPerDescriptor, completionEntries, sendEntries } = options;
    this.options = options;
    this.take = take;
    this.queue = this.share(cpu, descriptors * pagesPerDescriptor * ADDRESS_BYTES);
    this.completions = this.share(cpu, completionEntries * COMPLETION_BYTES);
    this.sendQueue = this.share(cpu, sendEntries * SEND_ENTRY_BYTES);
    this.sendCompletions = this.share(cpu, sendEntries * COMPLETION_BYTES);
    this.descriptors = Array.from({ length: descriptors }, () => new Descriptor());
    for (let slot = 0; slot < descriptors; slot += 1) this.empty.push(slot);
    this.bytes = new Uint8Array(Math.max(COMPLETION_BYTES, pagesPerDescriptor * ADDRESS_BYTES));
    this.view = new DataView(this.bytes.buffer);
    this.index = nic.addRing({
      completionQueue: this.completions.address,
      completionEntries,
      sendQueue: this.sendQueue.address,
      sendEntries,
      sendCompletions: this.sendCompletions.address,
    });
  }

  /** Fills the ring before the first packet. */
  fill(cpu: Cpu): void {
    while (this.empty.length > 0) this.postPage(cpu);
  }

  /** A poll begins: so many packets at most. */
  beginPoll(budget: number): void {
    this.budget = budget;
  }

  /** Another piece of the poll: frames that were sent, packets, pages to give back, pages to post. False: the poll has ended. */
  step(cpu: Cpu): boolean {
    if (this.releasing >= 0) this.releasePage(cpu);
    else if (this.sentToUnmap()) this.unmapSent(cpu);
    else if (this.budget > 0 && this.taken < this.options.nic.completionsOf(this.index)) this.takePacket(cpu);
    else if (this.empty.length > 0) this.postPage(cpu);
    else return false;
    return true;
  }

  /** The end of a poll: true when its budget was used up, so that another one follows; else the adapter interrupts again. */
  endPoll(): boolean {
    const { nic } = this.options;
    if (this.budget === 0) return true;
    nic.enableInterrupt(this.index, nic.completionsOf(this.index) - this.taken);
    return false;
  }

  /** A holder of a page has read it. */
  letGo(page: RingPage): void {
    page.holders -= 1;
    if (page.holders === 0) this.options.frames.freePage(page.frame);
  }

  /** Maps a frame and hands it to the adapter; false when the send queue is full. */
  send(cpu: Cpu, phys: number, bytes: number): boolean {
    const { api, device, memory, sendEntries, nic } = this.options;
    if (this.sent.length === sendEntries) return false;
    const address = api.dmaMapPhys(cpu, device, physAddr(phys), bytes, DMA_TO_DEVICE, 0);
    if (api.dmaMappingError(device, address)) return false;
    this.sent.push({ address, bytes });
    const { view } = this;
    this.bytes.fill(0);
    view.setUint32(0, address % FOUR_GIB, true);
    view.setUint32(4, Math.floor(address / FOUR_GIB), true);
    view.setUint32(8, bytes, true);
    const entry = this.sendQueue.phys + (this.sendTail % sendEntries) * SEND_ENTRY_BYTES;
    memory.writeBytes(entry, this.bytes, 0, SEND_ENTRY_BYTES);
    this.sendTail += 1;
    nic.send(this.index);
    return true;
  }

  /** One completion tells of a batch of frames. */
  private sentToUnmap(): boolean {
    const { nic, sendBatch } = this.options;
    const told = nic.sentOf(this.index);
    return this.sentSeen < told - (told % sendBatch);
  }

  /** Gives everything back; the adapter must be silent. */
  close(cpu: Cpu): void {
    const { api, device } = this.options;
    while (this.sent.length > 0) this.unmapSent(cpu);
    while (this.releasing >= 0) this.releasePage(cpu);
    for (const { pages, range } of this.descriptors) {
      if (range.inUse) this.unmapRange(cpu, range);
      else for (const page of pages) this.unmapPage(cpu, page);
      for (const page of pages) this.letGo(page);
      pages.length = 0;
    }
    for (const page of this.cache.splice(0)) {
      this.unmapPage(cpu, page);
      this.letGo(page);
    }
    const { descriptors, pagesPerDescriptor, completionEntries, sendEntries } = this.options;
    api.dmaFreeCoherent(cpu, device, descriptors * pagesPerDescriptor * ADDRESS_BYTES, this.queue);
    api.dmaFreeCoherent(cpu, device, completionEntries * COMPLETION_BYTES, this.completions);
    api.dmaFreeCoherent(cpu, device, sendEntries * SEND_ENTRY_BYTES, this.sendQueue);
    api.dmaFreeCoherent(cpu, device, sendEntries * COMPLETION_BYTES, this.sendCompletions);
  }

  private share(cpu: Cpu, bytes: number): CoherentMemory {
    const { api, device } = this.options;
    const memory = api.dmaAllocCoherent(cpu, device, bytes);
    if (memory === null) throw new Error(`${device.name}: no memory for the queues of a ring`);
    return memory;
  }

  /** The completion entry says whose bytes lie where; a packet in another descriptor means that the one before is done. */
  private takePacket(cpu: Cpu): void {
    const { memory, completionEntries } = this.options;
    const entry = this.completions.phys + (this.taken % completionEntries) * COMPLETION_BYTES;
    memory.readBytes(entry, this.bytes, 0, COMPLETION_BYTES);
    const slot = this.view.getUint32(4, true);
    if (slot !== this.current) {
      this.releasing = this.current;
      this.current = slot;
      return;
    }
    const flow = this.view.getUint32(0, true);
    const offset = this.view.getUint32(8, true);
    const length = this.view.getUint32(12, true);
    const { pages } = this.descriptors[slot]!;
    const held: RingPage[] = [];
    for (let index = Math.floor(offset / PAGE_SIZE); index * PAGE_SIZE < offset + length; index += 1) {
      const page = pages[index]!;
      page.holders += 1;
      held.push(page);
    }
    this.taken += 1;
    this.budget -= 1;
    this.take(cpu, flow, held, offset % PAGE_SIZE, length);
  }

  private releasePage(cpu: Cpu): void {
    const { cachedPages, contiguous } = this.options;
    const { pages, range } = this.descriptors[this.releasing]!;
    if (contiguous) {
      this.unmapRange(cpu, range);
      for (const page of pages) this.letGo(page);
      pages.length = 0;
    } else {
      const page = pages.shift();
      if (page !== undefined) {
        if (this.cache.length < cachedPages) this.cache.push(page);
        else {
          this.unmapPage(cpu, page);
          this.letGo(page);
        }
      }
    }
    if (pages.length > 0) return;
    this.empty.push(this.releasing);
    this.releasing = -1;
  }

  /** Finds one more page for the next empty descriptor, and posts the descriptor with its last one. */
  private postPage(cpu: Cpu): void {
    const { pagesPerDescriptor, contiguous } = this.options;
    const slot = this.empty.first();
    const { pages, range } = this.descriptors[slot]!;
    if (contiguous) {
      while (pages.length < pagesPerDescriptor) pages.push(this.newPage());
      this.mapRange(cpu, pages, range);
    } else pages.push(this.recycledPage() ?? this.mappedPage(cpu));
    if (pages.length < pagesPerDescriptor) return;
    this.empty.shift();
    this.post(slot, pages);
  }

  private recycledPage(): RingPage | null {
    const head = this.cache[0];
    if (head?.holders !== 1) return null;
    this.cache.shift();
    return head;
  }

  private newPage(): RingPage {
    return new RingPage(this.options.frames.allocatePage());
  }

  private mappedPage(cpu: Cpu): RingPage {
    const { api, device } = this.options;
    const page = this.newPage();
    const address = api.dmaMapPhys(cpu, device, physAddr(page.frame * PAGE_SIZE), PAGE_SIZE, DMA_FROM_DEVICE, 0);
    if (api.dmaMappingError(device, address)) throw new Error(`${device.name}: a page of a ring cannot be mapped`);
    page.address = address;
    return page;
  }

  private unmapPage(cpu: Cpu, page: RingPage): void {
    this.options.api.dmaUnmapPhys(cpu, this.options.device, dmaAddr(page.address), PAGE_SIZE, DMA_FROM_DEVICE, 0);
  }

  private mapRange(cpu: Cpu, pages: readonly RingPage[], range: DmaIovaState): void {
    const { api, device } = this.options;
    const bytes = pages.length * PAGE_SIZE;
    if (!api.dmaIovaTryAlloc(cpu, device, range, 0, bytes))
      throw new Error(`${device.name}: no range for a descriptor`);
    for (const [index, page] of pages.entries()) {
      const at = index * PAGE_SIZE;
      page.address = range.address + at;
      const phys = physAddr(page.frame * PAGE_SIZE);
      const error = api.dmaIovaLink(cpu, device, range, phys, at, PAGE_SIZE, DMA_FROM_DEVICE, 0);
      if (error !== 0) throw new Error(`${device.name}: a page of a descriptor cannot be linked`);
    }
    api.dmaIovaSync(cpu, device, range, 0, bytes);
  }

  private unmapRange(cpu: Cpu, range: DmaIovaState): void {
    this.options.api.dmaIovaDestroy(cpu, this.options.device, range, range.size, DMA_FROM_DEVICE, 0);
    range.reset();
  }

  private unmapSent(cpu: Cpu): void {
    const { api, device } = this.options;
    const frame = this.sent.shift();
    this.sentSeen += 1;
    if (frame !== undefined) api.dmaUnmapPhys(cpu, device, dmaAddr(frame.address), frame.bytes, DMA_TO_DEVICE, 0);
  }

  private post(slot: number, pages: readonly RingPage[]): void {
    const { memory, nic } = this.options;
    for (const [index, page] of pages.entries()) {
      this.view.setUint32(index * ADDRESS_BYTES, page.address % FOUR_GIB, true);
      this.view.setUint32(index * ADDRESS_BYTES + 4, Math.floor(page.address / FOUR_GIB), true);
    }
    const bytes = pages.length * ADDRESS_BYTES;
    const offset = slot * this.options.pagesPerDescriptor * ADDRESS_BYTES;
    memory.writeBytes(this.queue.phys + offset, this.bytes, 0, bytes);
    nic.post(this.index, slot, this.queue.address + offset);
  }
}
