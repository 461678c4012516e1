/**
 * The device side of a replay: a drive with the habits of the recorded one before the emulated IOMMU. It takes the command
 * that the emulated driver built, reads lists through the emulated tables with the same walk of data pointers as the drive of a
 * run, and touches every page of the data, in the order in which the recorded drive does (QEMU hw/nvme/ctrl.c
 * `nvme_process_sq`, `nvme_map_prp`, `nvme_map_sgl`, `nvme_post_cqes`; system/dma-helpers.c `dma_blk_cb`; system/physmem.c
 * `address_space_map`): one entry at a time, no prefetch, a lookup for each page, and a second one where the next page is not
 * physically adjacent, because the mapping of a run of pages ends by looking at the page behind it.
 * Leaves out: the data itself, time, the admin queue.
 */
import { NvmeDataPointerWalk } from '../devices/nvmeDataPointer.ts';
import {
  NVME_CMD_SGL_METABUF,
  NVME_CTRL_PAGE_SIZE,
  NVME_SC_SUCCESS,
  SQE_DPTR,
  SQE_DWORDS,
} from '../devices/nvmeSpecification.ts';
import type { NvmeIod } from '../drivers/nvmeIod.ts';
import { PASSTHROUGH } from '../iommu/caches/contextCache.ts';
import type { Iommu } from '../iommu/iommu.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import type { PhysicalMemory } from '../memory/physicalMemory.ts';
import { COUNTER, type Counters } from '../metrics/counters.ts';
import { picoseconds } from '../time/picoseconds.ts';
import { type DeviceRoles, placeName, QUEUE_ENTRIES, type QueuePlace, type QueuePlaceKind } from './deviceRoles.ts';
import { deviceLines } from './deviceText.ts';
import type { StandInPages } from './standInPages.ts';
import type { RangeNames } from './traceText.ts';

const NOW = picoseconds(0);
const TWO_32 = 2 ** 32;
const LARGE_LEAF = 0x80;
const LEAF_PAGES = [1, 512, 512 * 512] as const;
const SGL_TYPE_SHIFT = 28;

export interface DriveParts {
  readonly iommu: Iommu;
  readonly memory: PhysicalMemory;
  readonly counters: Counters;
  readonly sourceId: number;
}

export interface DriveCommand {
  readonly queue: number;
  readonly opcode: number;
  readonly write: boolean;
  readonly lba: number;
  readonly bytes: number;
  readonly blockBytes: number;
  readonly iod: NvmeIod;
  readonly names: RangeNames;
  /** The drive begins on the queue anew and reads its tail first: a matter of time. */
  readonly beginsRun: boolean;
}

export class EmulatedDrive {
  readonly #parts: DriveParts;
  readonly #roles: DeviceRoles;
  readonly #standIns: StandInPages;
  readonly #walk = new NvmeDataPointerWalk();
  readonly #heads = new Map<number, number>();
  readonly #tails = new Map<number, number>();
  #names: RangeNames;
  #lines: string[] = [];
  #level = 0;

  constructor(parts: DriveParts, roles: DeviceRoles, standIns: StandInPages, names: RangeNames) {
    this.#parts = parts;
    this.#roles = roles;
    this.#standIns = standIns;
    this.#names = names;
    this.#walk.joinsNeighbours = false;
  }

  /** Where the drive is in a queue when the replay begins. */
  startAt(queue: number, kind: 'sqEntry' | 'cqEntry', index: number): void {
    (kind === 'sqEntry' ? this.#heads : this.#tails).set(queue, index);
  }

  /** A command of that queue which is not replayed. */
  skip(queue: number, kind: 'sqEntry' | 'cqEntry'): void {
    this.#advance(kind === 'sqEntry' ? this.#heads : this.#tails, queue);
  }

  fetch(command: DriveCommand): string[] {
    this.#begin(command.names);
    const { queue } = command;
    if (command.beginsRun) this.#place('sqTail', queue, 0, false);
    this.#place('sqEntry', queue, this.#advance(this.#heads, queue), false);
    this.#lines.push(deviceLines.command(command.opcode));
    const blocks = command.bytes / command.blockBytes;
    this.#lines.push(deviceLines.transfer(command.write, command.lba, blocks, command.bytes));
    this.#dataPointer(command);
    // What the drive reads it takes out of memory for the medium: a read command writes memory.
    for (let range = 0; range < this.#walk.count; range += 1) {
      this.#transfer(this.#walk.address[range]!, this.#walk.length[range]!, !command.write);
    }
    this.#place('sqEvent', queue, 0, true);
    this.#place('sqTail', queue, 0, false);
    return this.#lines;
  }

  post(queue: number, names: RangeNames): string[] {
    this.#begin(names);
    this.#place('cqEvent', queue, 0, true);
    this.#place('cqHead', queue, 0, false);
    this.#place('cqEntry', queue, this.#advance(this.#tails, queue), true);
    return this.#lines;
  }

  /** The drive looks whether there is a command. */
  poll(queue: number): string[] {
    this.#lines = [];
    this.#place('sqTail', queue, 0, false);
    return this.#lines;
  }

  /** An access to a page of the recorded machine that belongs to no replayed request. */
  touch(recordedAddress: number): void {
    this.#lines = [];
    this.#access(this.#standIns.of(Math.floor(recordedAddress / PAGE_SIZE)) * PAGE_SIZE, false, '', false);
  }

  #begin(names: RangeNames): void {
    this.#names = names;
    this.#lines = [];
  }

  #advance(indices: Map<number, number>, queue: number): number {
    const index = indices.get(queue) ?? 0;
    indices.set(queue, (index + 1) % QUEUE_ENTRIES);
    return index;
  }

  #place(kind: QueuePlaceKind, queue: number, index: number, write: boolean): void {
    const place: QueuePlace = { kind, queue, index };
    const recorded = this.#roles.addressOf(place);
    if (recorded < 0) return;
    const page = Math.floor(recorded / PAGE_SIZE);
    this.#access(this.#standIns.of(page) * PAGE_SIZE + (recorded % PAGE_SIZE), write, placeName(place), false);
  }

  #dataPointer({ iod, bytes }: DriveCommand): void {
    const walk = this.#walk;
    const dwords = new Uint32Array(SQE_DWORDS);
    dwords[0] = iod.sgl ? NVME_CMD_SGL_METABUF << 8 : 0;
    dwords.set(iod.dataPointer, SQE_DPTR);
    const first = pointer(dwords, SQE_DPTR);
    if (iod.sgl) {
      this.#lines.push(deviceLines.sgl(dwords[SQE_DPTR + 3]! >>> SGL_TYPE_SHIFT, bytes));
    } else {
      const length = Math.min(bytes, NVME_CTRL_PAGE_SIZE - (first % NVME_CTRL_PAGE_SIZE));
      const second = this.#busName(pointer(dwords, SQE_DPTR + 2));
      const entries = Math.floor(bytes / NVME_CTRL_PAGE_SIZE) + 1;
      this.#lines.push(deviceLines.prp(length, bytes, this.#busName(first), second, entries));
    }
    walk.start(dwords, 0, bytes, true);
    let printed = this.#addresses(0);
    while (walk.fetchBytes > 0) {
      const words = this.#fetchList(walk.fetchAddress, walk.fetchBytes);
      if (words === null) return;
      walk.consume(words);
      printed = this.#addresses(printed);
    }
    if (walk.status !== NVME_SC_SUCCESS) this.#lines.push(`the drive refuses the data pointer, status ${walk.status}`);
  }

  #addresses(from: number): number {
    const { address, length, count } = this.#walk;
    for (let index = from; index < count; index += 1) {
      this.#lines.push(deviceLines.address(this.#busName(address[index]!), length[index]!));
    }
    return count;
  }

  #fetchList(address: number, bytes: number): Uint32Array | null {
    const page = this.#access(address, false, this.#busName(address), false);
    if (page < 0) return null;
    const first = (address % PAGE_SIZE) / 4;
    return Uint32Array.from({ length: bytes / 4 }, (_, word) => this.#parts.memory.readWord(page, first + word));
  }

  /** One run of physically adjacent pages after the other. */
  #transfer(start: number, length: number, write: boolean): void {
    const end = start + length;
    let address = start;
    while (address < end) {
      let page = this.#access(address, write, this.#busName(address), true);
      if (page < 0) return;
      for (;;) {
        const next = this.#afterLeaf(address, page);
        address = next.address;
        if (address >= end) return;
        const following = this.#access(address, write, this.#busName(address), true);
        if (following !== next.page) break;
        page = following;
      }
    }
  }

  /** Where the leaf that was found last ends. */
  #afterLeaf(address: number, page: number): { readonly address: number; readonly page: number } {
    const pages = LEAF_PAGES[this.#level] ?? 1;
    const busPage = Math.floor(address / PAGE_SIZE);
    const ahead = pages - (busPage % pages);
    return { address: (busPage + ahead) * PAGE_SIZE, page: page + ahead };
  }

  /** The physical page; -1: refused. */
  #access(address: number, write: boolean, name: string, data: boolean): number {
    const { iommu, counters, sourceId } = this.#parts;
    const page = Math.floor(address / PAGE_SIZE);
    const { values } = counters;
    const before = misses(values);
    const granted = iommu.translate(sourceId, page, write, 1, NOW);
    if (!granted) {
      this.#lines.push(`the IOMMU refuses ${name}`);
      return -1;
    }
    const { physPage, contextCache, iotlb } = iommu;
    this.#level = 0;
    // In passthrough there is nothing to look up.
    if ((contextCache.flags & PASSTHROUGH) !== 0) return physPage;
    const hit = misses(values) === before;
    iotlb.find(contextCache.owner, page);
    this.#level = iotlb.level;
    const flags = iotlb.permissions + (iotlb.level > 0 ? LARGE_LEAF : 0);
    const entry = data ? (iotlb.leafPage * PAGE_SIZE + flags).toString(16) : null;
    const mask = (LEAF_PAGES[iotlb.level] ?? 1) * PAGE_SIZE - 1;
    this.#lines.push(deviceLines.lookup(hit, name, entry, mask));
    return physPage;
  }

  #busName(address: number): string {
    const name = this.#names.address(address);
    const recorded = this.#standIns.recordedPage(Math.floor(address / PAGE_SIZE));
    if (name.startsWith('range') || recorded === undefined) return name;
    return `0x${(recorded * PAGE_SIZE + (address % PAGE_SIZE)).toString(16)}`;
  }
}

function misses(values: Float64Array): number {
  return values[COUNTER.iotlbMisses4K]! + values[COUNTER.iotlbMisses2M]! + values[COUNTER.iotlbMisses1G]!;
}

function pointer(dwords: Uint32Array, offset: number): number {
  return dwords[offset + 1]! * TWO_32 + dwords[offset]!;
}
