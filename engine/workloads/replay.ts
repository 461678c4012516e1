/**
 * The requests of a recorded kernel, again: in their order, with their direction, size and memory, in a closed loop as deep as
 * the recording was. The recorded time plays no part, since it came from software emulation.
 * Leaves out: the pauses between requests, and which CPU handled a completion (the driver's queues decide that).
 */
import { PAGE_SIZE } from '../memory/addresses.ts';
import type { FrameAllocator } from '../memory/frameAllocator.ts';
import { Bio } from '../drivers/bio.ts';
import type { Cpu } from '../time/cpu.ts';
import { LabError } from '../time/labError.ts';
import type { Picoseconds } from '../time/picoseconds.ts';
import type { WorkloadMachine } from './bio.ts';
import type { RecordedRequest, RecordedVector, Recording } from './recordedRequest.ts';
import type { Workload } from './workload.ts';

export interface ReplayWorkloadOptions {
  readonly name: string;
  /** Left out: as deep as the recording was. */
  readonly queueDepth?: number;
}

const SUBMIT = 0;
const ENDED = 1;
const SECTOR_BYTES = 512;
const DOUBLEWORD_BYTES = 4;
const PHYSICAL_ADDRESS_END = 2 ** 52;

export class ReplayWorkload implements Workload {
  readonly total: number;
  completed = 0;
  failed = 0;
  /** Requests that a slot has taken so far. */
  private taken = 0;
  private readonly slotRequest: Int32Array;
  private readonly machine: WorkloadMachine;
  private readonly requests: readonly RecordedRequest[];
  private readonly bios: Bio[];

  constructor(machine: WorkloadMachine, recording: Recording, options: ReplayWorkloadOptions) {
    this.machine = machine;
    this.requests = recording.requests;
    this.total = recording.requests.length;
    checkRequests(recording, options.name);
    checkCapacity(recording, machine.driver.capacitySectors, options.name);
    claimPages(machine.frames, recording.requests);
    const depth = Math.min(options.queueDepth ?? recording.queueDepth, this.total);
    this.slotRequest = new Int32Array(depth);
    this.bios = Array.from({ length: depth }, (_, slot) => new Bio(this, ENDED, slot));
  }

  get done(): boolean {
    return this.completed === this.total;
  }

  start(): void {
    for (let slot = 0; slot < this.bios.length; slot += 1) this.post(slot, this.machine.work.now);
  }

  handleEvent(kind: number, slot: number): void {
    if (kind === SUBMIT) this.submit(slot);
    else this.ended(slot);
  }

  /** Takes the next request and hands it to the CPU that submitted it. */
  private post(slot: number, at: Picoseconds): void {
    if (this.taken === this.total) return;
    this.slotRequest[slot] = this.taken;
    this.taken += 1;
    this.machine.work.taskAt(at, this.cpuOf(slot).id, this, SUBMIT, slot);
  }

  private cpuOf(slot: number): Cpu {
    const { work, cpus = work.cpus } = this.machine;
    return cpus[this.requests[this.slotRequest[slot]!]!.cpu % cpus.length]!;
  }

  private submit(slot: number): void {
    const request = this.requests[this.slotRequest[slot]!]!;
    const bio = this.bios[slot]!;
    bio.reset(request.write, request.lba);
    for (const vector of request.vectors) bio.addVector(vector.phys, vector.length);
    bio.recordedSegments = request.segments;
    this.machine.driver.submitBio(this.cpuOf(slot), bio);
  }

  private ended(slot: number): void {
    const bio = this.bios[slot]!;
    this.completed += 1;
    if (bio.failed) this.failed += 1;
    this.post(slot, bio.completedAt);
  }
}

/**
 * Every page of the recording: they are where the recorded kernel's memory was. Ranges that touch are claimed as one, and no
 * page is counted by itself, so that an address or a length that cannot be costs no time before it is refused.
 */
function claimPages(frames: FrameAllocator, requests: readonly RecordedRequest[]): void {
  const ranges: { first: number; end: number }[] = [];
  for (const request of requests) {
    for (const { phys, length } of request.vectors) {
      ranges.push({ first: Math.floor(phys / PAGE_SIZE), end: Math.ceil((phys + length) / PAGE_SIZE) });
    }
  }
  ranges.sort((a, b) => a.first - b.first);
  for (let index = 0; index < ranges.length;) {
    const { first } = ranges[index]!;
    let { end } = ranges[index]!;
    for (index += 1; index < ranges.length && ranges[index]!.first <= end; index += 1) {
      end = Math.max(end, ranges[index]!.end);
    }
    frames.claim(first, end - first);
  }
}

/** A recording is another's word: what no drive could be asked for is refused before anything runs. */
function checkRequests(recording: Recording, where: string): void {
  for (const { index, bytes, vectors } of recording.requests) {
    const problem = requestProblem(bytes, vectors);
    if (problem === null) continue;
    const name = `Request ${String(index)} of recording "${recording.id}"`;
    throw new LabError(where, `${name} ${problem}.`, 'Record again, or restore the text of the recording.');
  }
}

function requestProblem(bytes: number, vectors: readonly RecordedVector[]): string | null {
  let sum = 0;
  for (const { phys, length } of vectors) {
    if (!(length > 0) || length % DOUBLEWORD_BYTES !== 0 || phys % DOUBLEWORD_BYTES !== 0) {
      return `has a segment of ${String(length)} bytes at 0x${phys.toString(16)}, which is not whole doublewords of 4 bytes`;
    }
    if (!(phys >= 0 && phys + length <= PHYSICAL_ADDRESS_END)) {
      return `has a segment at 0x${phys.toString(16)}, and physical addresses have at most 52 bits`;
    }
    sum += length;
  }
  if (sum !== bytes) return `has ${String(bytes)} bytes, but segments of ${String(sum)}`;
  return bytes % SECTOR_BYTES === 0 ? null : `has ${String(bytes)} bytes, which are not whole blocks`;
}

function checkCapacity(recording: Recording, capacitySectors: number, where: string): void {
  for (const { lba, bytes, index } of recording.requests) {
    if (lba + Math.ceil(bytes / SECTOR_BYTES) <= capacitySectors) continue;
    const problem = `Request ${String(index)} of recording "${recording.id}" ends beyond the drive of ${String(capacitySectors)} sectors.`;
    throw new LabError(where, problem, 'Give the drive at least the capacity of the recorded one.');
  }
}
