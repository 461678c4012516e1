/**
 * An I/O generator in the manner of fio: a closed loop that keeps a number of I/Os in flight, each in a buffer of its own
 * (direct I/O: the drive reads and writes the buffer's pages). Buffers are taken in turn from a ring, so that I/O number n lies
 * in the same pages under every scheme, whichever I/O ended first. What is written is the pattern of its block, so that what
 * is read back can be recognised to the byte.
 * Leaves out: the page cache, file systems, rate limits, jobs that differ from each other.
 */
import type { Cpu } from '../time/cpu.ts';
import type { RandomStream } from '../time/random.ts';
import { LabError } from '../time/labError.ts';
import {
  fillPattern,
  MAX_GENERATION,
  PATTERN_BYTES,
  patternTag,
  recognisePattern,
  tagBlock,
} from '../memory/dataPattern.ts';
import type { FrameAllocator } from '../memory/frameAllocator.ts';
import type { PhysicalMemory } from '../memory/physicalMemory.ts';
import { PAGE_SIZE, physAddr } from '../memory/addresses.ts';
import { Bio } from '../drivers/bio.ts';
import type { CpuWork } from '../drivers/cpuWork.ts';
import type { NvmeDriver } from '../drivers/nvmeDriver.ts';
import { BioPattern, type BioPatternOptions } from './bioPattern.ts';
import { allocateBuffers, type BufferPages, type Contiguity } from './bufferPages.ts';
import type { Workload } from './workload.ts';

export interface BioWorkloadOptions extends BioPatternOptions {
  /** The name under which errors speak of it. */
  readonly name: string;
  /** I/Os in flight, over all CPUs. */
  readonly queueDepth: number;
  readonly ioCount: number;
  readonly contiguity: Contiguity;
  /** CPUs that submit, in turn. */
  readonly cpus: number;
  /** Fill every write with its pattern and check every read; costs host time only. */
  readonly verify: boolean;
}

export interface WorkloadMachine {
  readonly driver: NvmeDriver;
  readonly work: CpuWork;
  readonly memory: PhysicalMemory;
  /** Where buffers lie. */
  readonly frames: FrameAllocator;
  /** CPUs that submit, in this order; default: all. */
  readonly cpus?: readonly Cpu[];
  /** The program has just written these bytes, which its I/O sends to the drive; default: nobody needs to know. */
  readonly wrote?: (phys: number, bytes: number) => void;
}

const SUBMIT = 0;
const ENDED = 1;
/** So many buffers for each I/O in flight that an I/O seldom comes round to one that a slow I/O still has. */
const BUFFERS_PER_SLOT = 4;
const LEAST_BUFFERS_PER_SLOT = 2;
/** A ring beyond this is no longer than it must be. */
const RING_PAGES = 16_384;

export class BioWorkload implements Workload {
  readonly total: number;
  completed = 0;
  failed = 0;
  /** Blocks that a read brought and that are not what that block may hold (with `verify`). */
  mismatches = 0;
  private submitted = 0;
  private generation = 0;
  private readonly machine: WorkloadMachine;
  private readonly options: BioWorkloadOptions;
  private readonly pattern: BioPattern;
  private readonly bios: Bio[];
  private readonly buffers: BufferPages;
  private readonly pagesPerBuffer: number;
  /** Which buffers of the ring an I/O has. */
  private readonly busy: Uint8Array;
  /** The buffer of each slot's I/O. */
  private readonly slotBuffer: Int32Array;
  /** Slots that wait until the buffer whose turn it is comes free. */
  private readonly stalled: number[] = [];
  private readonly page = new Uint32Array(PAGE_SIZE / 4);
  private readonly pageBytes = new Uint8Array(this.page.buffer);

  constructor(machine: WorkloadMachine, options: BioWorkloadOptions, random: RandomStream) {
    const largest = Math.max(...options.blockSizes.map((share) => share.bytes));
    checkRegion(options, largest, machine.driver.capacitySectors * PATTERN_BYTES);
    this.machine = machine;
    this.options = options;
    this.total = options.ioCount;
    this.pattern = new BioPattern(options, random.fork('pattern'));
    const slots = Math.min(options.queueDepth, options.ioCount);
    this.pagesPerBuffer = Math.ceil(largest / PAGE_SIZE);
    const count = ringBuffers(slots, this.pagesPerBuffer, options.ioCount);
    this.busy = new Uint8Array(count);
    this.slotBuffer = new Int32Array(slots);
    this.buffers = allocateBuffers(
      machine.frames,
      random.fork('buffers'),
      count,
      this.pagesPerBuffer,
      options.contiguity,
    );
    this.bios = Array.from({ length: slots }, (_, slot) => new Bio(this, ENDED, slot));
  }

  get done(): boolean {
    return this.completed === this.total;
  }

  start(): void {
    this.registerBuffers();
    for (let slot = 0; slot < this.bios.length; slot += 1) this.post(slot);
  }

  handleEvent(kind: number, slot: number): void {
    if (kind === SUBMIT) this.submit(this.cpuOf(slot), slot);
    else this.ended(slot);
  }

  /** Physical address of a byte of the buffer of a slot's I/O. */
  bufferAddress(slot: number, offset: number): number {
    const page = this.buffers.pages[this.slotBuffer[slot]! * this.pagesPerBuffer + Math.floor(offset / PAGE_SIZE)]!;
    return page * PAGE_SIZE + (offset % PAGE_SIZE);
  }

  private registerBuffers(): void {
    const { driver, work, cpus = work.cpus } = this.machine;
    const { pages } = this.buffers;
    for (let first = 0; first < pages.length; first += this.pagesPerBuffer) {
      if (driver.registerBuffer(cpus[0]!, pages.subarray(first, first + this.pagesPerBuffer))) continue;
      throw new LabError(
        this.options.name,
        `after ${first / this.pagesPerBuffer} of ${this.busy.length} buffers there is no room to map another.`,
        'Use a smaller queueDepth or blockSize, or a scheme that maps each request.',
      );
    }
  }

  private cpuOf(slot: number): Cpu {
    const { work, cpus = work.cpus } = this.machine;
    return cpus[slot % Math.min(this.options.cpus, cpus.length)]!;
  }

  private post(slot: number): void {
    this.machine.work.task(this.cpuOf(slot).id, this, SUBMIT, slot);
  }

  private submit(cpu: Cpu, slot: number): void {
    if (this.submitted === this.total) return;
    const buffer = this.submitted % this.busy.length;
    if (this.busy[buffer] === 1) {
      this.stalled.push(slot);
      return;
    }
    this.busy[buffer] = 1;
    this.slotBuffer[slot] = buffer;
    this.submitted += 1;
    const { pattern } = this;
    pattern.next();
    const bio = this.bios[slot]!;
    bio.reset(pattern.write, pattern.sector);
    this.addPages(bio, slot, pattern.bytes);
    if (this.options.verify && bio.write) this.fill(bio, slot);
    else if (bio.write && this.machine.wrote !== undefined) this.produce(bio, slot, this.machine.wrote);
    this.machine.driver.submitBio(cpu, bio);
  }

  private addPages(bio: Bio, slot: number, bytes: number): void {
    const { profile } = this.machine.driver;
    const first = this.slotBuffer[slot]! * this.pagesPerBuffer;
    let left = bytes;
    for (let index = 0; left > 0; index += 1) {
      const length = Math.min(left, PAGE_SIZE);
      bio.addPage(this.buffers.pages[first + index]! * PAGE_SIZE, length, this.buffers.folios[first + index]!, profile);
      left -= length;
    }
  }

  private ended(slot: number): void {
    const bio = this.bios[slot]!;
    this.completed += 1;
    if (bio.failed) this.failed += 1;
    else if (this.options.verify && !bio.write) this.check(bio, slot);
    this.busy[this.slotBuffer[slot]!] = 0;
    if (this.submitted === this.total) return;
    this.again(bio, slot);
    if (this.busy[this.submitted % this.busy.length] === 1) return;
    for (const waiting of this.stalled.splice(0)) this.again(bio, waiting);
  }

  /** The slot takes the next I/O when `ended` has. */
  private again(ended: Bio, slot: number): void {
    this.machine.work.taskAt(ended.completedAt, this.cpuOf(slot).id, this, SUBMIT, slot);
  }

  private produce(bio: Bio, slot: number, wrote: (phys: number, bytes: number) => void): void {
    for (let offset = 0; offset < bio.bytes; offset += PAGE_SIZE) {
      wrote(this.bufferAddress(slot, offset), Math.min(PAGE_SIZE, bio.bytes - offset));
    }
  }

  private fill(bio: Bio, slot: number): void {
    this.generation = this.generation === MAX_GENERATION ? 1 : this.generation + 1;
    for (let offset = 0; offset < bio.bytes; offset += PAGE_SIZE) {
      const length = Math.min(PAGE_SIZE, bio.bytes - offset);
      for (let part = 0; part < length; part += PATTERN_BYTES) {
        const block = bio.sector + (offset + part) / PATTERN_BYTES;
        fillPattern(this.page, part / 4, patternTag(block, this.generation));
      }
      this.machine.memory.writeBytes(physAddr(this.bufferAddress(slot, offset)), this.pageBytes, 0, length);
    }
  }

  private check(bio: Bio, slot: number): void {
    for (let offset = 0; offset < bio.bytes; offset += PAGE_SIZE) {
      const length = Math.min(PAGE_SIZE, bio.bytes - offset);
      this.machine.memory.readBytes(physAddr(this.bufferAddress(slot, offset)), this.pageBytes, 0, length);
      for (let part = 0; part < length; part += PATTERN_BYTES) {
        const block = bio.sector + (offset + part) / PATTERN_BYTES;
        const tag = recognisePattern(this.page, part / 4);
        if (tag < 0 || tagBlock(tag) !== block) this.mismatches += 1;
      }
    }
  }
}

function ringBuffers(slots: number, pagesPerBuffer: number, ioCount: number): number {
  const afford = Math.floor(RING_PAGES / pagesPerBuffer);
  const wanted = Math.max(LEAST_BUFFERS_PER_SLOT * slots, Math.min(BUFFERS_PER_SLOT * slots, afford));
  return Math.min(wanted, ioCount);
}

function checkRegion(options: BioWorkloadOptions, largest: number, capacityBytes: number): void {
  if (options.regionBytes > capacityBytes) {
    const problem = `The region of ${String(options.regionBytes)} bytes is larger than the drive (${String(capacityBytes)}).`;
    throw new LabError(options.name, problem, 'Choose a smaller region or a larger drive.');
  }
  if (largest > options.regionBytes) {
    const problem = `A block of ${String(largest)} bytes does not fit into the region of ${String(options.regionBytes)}.`;
    throw new LabError(options.name, problem, 'Choose a larger region or smaller blocks.');
  }
}
