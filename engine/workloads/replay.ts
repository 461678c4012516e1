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
import type { Recording, RecordedRequest } from './recordedRequest.ts';
import type { Workload } from './workload.ts';

export interface ReplayWorkloadOptions {
  readonly name: string;
  /** Left out: as deep as the recording was. */
  readonly queueDepth?: number;
}

const SUBMIT = 0;
const ENDED = 1;
const SECTOR_BYTES = 512;

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
    const { cpus } = this.machine.work;
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

/** Every page of the recording, once: they are where the recorded kernel's memory was. */
function claimPages(frames: FrameAllocator, requests: readonly RecordedRequest[]): void {
  const pages = new Set<number>();
  for (const request of requests) {
    for (const { phys, length } of request.vectors) {
      const last = Math.floor((phys + length - 1) / PAGE_SIZE);
      for (let page = Math.floor(phys / PAGE_SIZE); page <= last; page += 1) pages.add(page);
    }
  }
  const ordered = [...pages].sort((a, b) => a - b);
  let start = 0;
  for (let index = 1; index <= ordered.length; index += 1) {
    if (index < ordered.length && ordered[index] === ordered[index - 1]! + 1) continue;
    if (index > start) frames.claim(ordered[start]!, index - start);
    start = index;
  }
}

function checkCapacity(recording: Recording, capacitySectors: number, where: string): void {
  for (const { lba, bytes, index } of recording.requests) {
    if (lba + Math.ceil(bytes / SECTOR_BYTES) <= capacitySectors) continue;
    const problem = `Request ${String(index)} of recording "${recording.id}" ends beyond the drive of ${String(capacitySectors)} sectors.`;
    throw new LabError(where, problem, 'Give the drive at least the capacity of the recorded one.');
  }
}
