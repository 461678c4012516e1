/**
 * An I/O generator in the manner of fio: a closed loop that keeps a number of I/Os in flight, each in a buffer of its own
 * (direct I/O: the drive reads and writes the buffer's pages). What is written is the pattern of its block, so that what is
 * read back can be recognised to the byte.
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
  readonly frames: FrameAllocator;
}

const SUBMIT = 0;
const ENDED = 1;

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
    this.buffers = allocateBuffers(
      machine.frames,
      random.fork('buffers'),
      slots,
      this.pagesPerBuffer,
      options.contiguity,
    );
    this.bios = Array.from({ length: slots }, (_, slot) => new Bio(this, ENDED, slot));
  }

  get done(): boolean {
    return this.completed === this.total;
  }

  start(): void {
    for (let slot = 0; slot < this.bios.length; slot += 1) this.post(slot);
  }

  handleEvent(kind: number, slot: number): void {
    if (kind === SUBMIT) this.submit(this.cpuOf(slot), slot);
    else this.ended(slot);
  }

  /** Physical address of a byte of a slot's buffer. */
  bufferAddress(slot: number, offset: number): number {
    const page = this.buffers.pages[slot * this.pagesPerBuffer + Math.floor(offset / PAGE_SIZE)]!;
    return page * PAGE_SIZE + (offset % PAGE_SIZE);
  }

  private cpuOf(slot: number): Cpu {
    const { cpus } = this.machine.work;
    return cpus[slot % Math.min(this.options.cpus, cpus.length)]!;
  }

  private post(slot: number): void {
    this.machine.work.task(this.cpuOf(slot).id, this, SUBMIT, slot);
  }

  private submit(cpu: Cpu, slot: number): void {
    if (this.submitted === this.total) return;
    this.submitted += 1;
    const { pattern } = this;
    pattern.next();
    const bio = this.bios[slot]!;
    bio.reset(pattern.write, pattern.sector);
    this.addPages(bio, slot, pattern.bytes);
    if (this.options.verify && bio.write) this.fill(bio, slot);
    this.machine.driver.submitBio(cpu, bio);
  }

  private addPages(bio: Bio, slot: number, bytes: number): void {
    const { profile } = this.machine.driver;
    const first = slot * this.pagesPerBuffer;
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
    if (this.submitted === this.total) return;
    this.machine.work.taskAt(bio.completedAt, this.cpuOf(slot).id, this, SUBMIT, slot);
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
