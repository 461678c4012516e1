/**
 * RDMA: a process registers regions of memory with its adapter, and the host at the other end of the cable writes into them or reads from
 * them, message by message, without the process's CPU (InfiniBand Architecture Specification 9.4.3 RDMA WRITE, 9.4.4 RDMA READ). Message
 * number n lies in the same region and at the same place of it under every scheme. After so many messages a region may be deregistered and
 * another buffer of the same make registered in its stead, as a program that registers for each transfer does.
 * What every message carries is compared with what arrived, to the byte; a message that differs has failed.
 * Leaves out: SEND, several messages of a queue pair under way, the far host's CPUs and the work of finding out that a message came.
 */
import { isRefusal } from '../drivers/rdma/umem.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import type { Cpu } from '../time/cpu.ts';
import { nanoseconds, picoseconds } from '../time/picoseconds.ts';
import { RdmaContents } from './rdmaContents.ts';
import { checkOptions, PROTECTION_DOMAIN, type RdmaMachine, type RdmaWorkloadOptions } from './rdmaMachine.ts';
import type { RegisteredBuffer, Registrar } from './registrar.ts';
import type { Workload } from './workload.ts';
import type { MemoryActivity, WorkloadMemory } from './workloadMemory.ts';

const REGISTER = 0;
const RENEW = 1;
const RELEASE = 2;
const MESSAGE_ENDED = 3;
const TRY_AGAIN = 4;
/** While others change the process's memory whoever else wants to waits for its lock. */
const LOCK_WAIT = nanoseconds(50);

interface Region {
  /** Which of the buffers it is made of. */
  buffer: number;
  /** Null: it is not registered, or was refused. */
  registered: RegisteredBuffer | null;
  refused: boolean;
  /** A task to register it anew is on its way. */
  renewing: boolean;
  /** Messages posted since it was registered, and those under way. */
  posted: number;
  underWay: number;
}

/** Where messages come to, how it becomes known to the adapter, and what happens to it meanwhile. */
export interface MessageMemory {
  readonly memory: WorkloadMemory;
  readonly registrar: Registrar;
  readonly changes: MemoryActivity | null;
}

export class RdmaWorkload implements Workload {
  readonly total: number;
  completed = 0;
  failed = 0;
  /** Blocks of 512 bytes that were not what the other side had sent. */
  mismatches = 0;
  private readonly machine: RdmaMachine;
  private readonly options: RdmaWorkloadOptions;
  private readonly cpu: Cpu;
  private readonly registrar: Registrar;
  private readonly memory: WorkloadMemory;
  private readonly changes: MemoryActivity | null;
  /** Not in use just now: who waits for memory that moves keeps the one that it began with, whatever others compare meanwhile. */
  private readonly spareContents: RdmaContents[] = [];
  private readonly buffers: Float64Array;
  /** Of the one buffer that no region has. */
  private spare: number;
  private readonly regions: Region[];
  private readonly placesPerRegion: number;
  /** Of them, those that messages come to. */
  private readonly placesUsed: number;
  /** By region and place: a message is under way there. */
  private readonly busy: Uint8Array;
  /** By buffer and place: the message whose bytes lie there; -1: nobody knows. */
  private readonly lying: Float64Array;
  private next = 0;
  private readonly slotMessage: Float64Array;
  private readonly slotPostedAt: Float64Array;
  /** Of the far host's memory and queue pairs. */
  private readonly slotAddress: Float64Array;
  private readonly slotOfPair: number[] = [];
  private readonly slotPair: number[] = [];
  /** Slots whose message waits for its region or its place. */
  private waiting: number[] = [];
  private releasing = false;
  private released = false;
  private reported = false;

  constructor(machine: RdmaMachine, options: RdmaWorkloadOptions, { memory, registrar, changes }: MessageMemory) {
    checkOptions(options);
    this.machine = machine;
    this.options = options;
    this.total = options.messages;
    this.cpu = (machine.cpus ?? machine.work.cpus)[0]!;
    const { nic, farHost } = machine;
    this.memory = memory;
    this.registrar = registrar;
    this.changes = changes;
    this.spare = options.regions;
    this.buffers = memory.buffers;
    this.regions = Array.from({ length: options.regions }, (_, buffer) => ({
      buffer,
      registered: null,
      refused: false,
      renewing: false,
      posted: 0,
      underWay: 0,
    }));
    this.placesPerRegion = Math.floor(options.regionBytes / options.messageBytes);
    this.placesUsed = Math.min(this.placesPerRegion, Math.ceil(options.messages / options.regions));
    this.busy = new Uint8Array(options.regions * this.placesUsed);
    this.lying = new Float64Array(this.buffers.length * this.placesUsed).fill(-1);
    const slots = Math.min(options.queuePairs, options.messages);
    this.slotMessage = new Float64Array(slots);
    this.slotPostedAt = new Float64Array(slots);
    this.slotAddress = new Float64Array(slots);
    const requests = Math.ceil(options.messageBytes / PAGE_SIZE) + 1;
    for (let slot = 0; slot < slots; slot += 1) {
      this.slotAddress[slot] = farHost.allocate(options.messageBytes);
      const pair = farHost.createPair({ nic, pd: PROTECTION_DOMAIN, requests, done: this, kind: MESSAGE_ENDED });
      this.slotPair.push(pair);
      this.slotOfPair[pair] = slot;
    }
  }

  /** All messages have ended, and nothing is registered any more. */
  get done(): boolean {
    return this.released;
  }

  start(): void {
    this.task(REGISTER, 0);
  }

  handleEvent(kind: number, argument: number): void {
    if (kind === MESSAGE_ENDED) this.ended(this.slotOfPair[argument]!);
    else if (kind === REGISTER) this.registerNext(argument);
    else if (kind === RENEW) this.renew(this.regions[argument]!);
    else if (kind === TRY_AGAIN) this.retry();
    else this.release(argument);
  }

  private task(kind: number, argument: number): void {
    this.machine.work.task(this.cpu.id, this, kind, argument);
  }

  /** All regions are registered before the first message. */
  private registerNext(index: number): void {
    this.register(this.regions[index]!);
    if (index + 1 < this.regions.length) {
      this.task(REGISTER, index + 1);
      return;
    }
    this.changes?.start(this.buffers, Math.ceil(this.options.regionBytes / PAGE_SIZE));
    for (let slot = 0; slot < this.slotPair.length; slot += 1) this.take(slot);
    this.releaseAtEnd();
  }

  private register(region: Region): void {
    const { name, regionBytes } = this.options;
    const result = this.registrar.register(this.cpu, this.buffers[region.buffer]! * PAGE_SIZE, regionBytes);
    region.posted = 0;
    if (!isRefusal(result)) {
      region.registered = result;
      return;
    }
    region.refused = true;
    if (this.reported) return;
    this.reported = true;
    const index = this.regions.indexOf(region);
    const problem = `region ${String(index)} of ${String(regionBytes)} bytes could not be registered: ${result.reason}`;
    this.machine.log.add(this.cpu.now, 'error', name, `${problem} Its messages fail.`);
  }

  private deregister(region: Region): void {
    if (region.registered === null) return;
    this.registrar.deregister(this.cpu, region.registered);
    region.registered = null;
  }

  private renew(region: Region): void {
    this.deregister(region);
    const { buffer } = region;
    region.buffer = this.spare;
    this.spare = buffer;
    this.register(region);
    region.renewing = false;
    this.retry();
    this.releaseAtEnd();
  }

  /** The slot goes on with the next message that can be sent, or waits. */
  private take(slot: number): void {
    while (this.next < this.total) {
      this.slotMessage[slot] = this.next;
      this.next += 1;
      if (this.tryMessage(slot)) return;
    }
  }

  /** False: the message has failed, and the slot is free. */
  private tryMessage(slot: number): boolean {
    const message = this.slotMessage[slot]!;
    const region = this.regionOf(message);
    if (region.refused) {
      this.completed += 1;
      this.failed += 1;
      this.machine.counters.add('messagesFailed', 1);
      return false;
    }
    if (this.mayGo(region, message)) this.post(slot, region);
    else this.waiting.push(slot);
    return true;
  }

  private retry(): void {
    const { waiting } = this;
    this.waiting = [];
    for (const slot of waiting) if (!this.tryMessage(slot)) this.take(slot);
  }

  private regionOf(message: number): Region {
    return this.regions[message % this.regions.length]!;
  }

  private placeOf(message: number): number {
    return Math.floor(message / this.regions.length) % this.placesPerRegion;
  }

  private busyIndexOf(message: number): number {
    return (message % this.regions.length) * this.placesUsed + this.placeOf(message);
  }

  /** Which registration of its region a message is for, from 1 on, as long as they come in their order. */
  private generationOf(message: number): number {
    const { messagesPerRegion } = this.options;
    return 1 + (messagesPerRegion === 0 ? 0 : Math.floor(message / this.regions.length / messagesPerRegion));
  }

  /** A region whose time has come is registered anew as soon as nothing is under way in it. */
  private mayGo(region: Region, message: number): boolean {
    const { messagesPerRegion } = this.options;
    if (region.renewing) return false;
    if (messagesPerRegion > 0 && region.posted >= messagesPerRegion) {
      if (region.underWay > 0) return false;
      region.renewing = true;
      this.task(RENEW, message % this.regions.length);
      return false;
    }
    return this.busy[this.busyIndexOf(message)] === 0;
  }

  /** Byte address of the memory. */
  private addressOf(buffer: number, place: number): number {
    return this.buffers[buffer]! * PAGE_SIZE + place * this.options.messageBytes;
  }

  private post(slot: number, region: Region): void {
    const { farHost, events } = this.machine;
    const { memory } = this;
    const { operation } = this.options;
    const message = this.slotMessage[slot]!;
    if (operation === 'read' && memory.isChanging) {
      this.waiting.push(slot);
      events.schedule(picoseconds(events.now + LOCK_WAIT), this, TRY_AGAIN);
      return;
    }
    this.busy[this.busyIndexOf(message)] = 1;
    region.posted += 1;
    region.underWay += 1;
    this.slotPostedAt[slot] = events.now;
    const contents = this.contentsOf(message);
    const address = this.addressOf(region.buffer, this.placeOf(message));
    const { bytes } = contents;
    if (operation === 'write') farHost.memory.writeBytes(this.slotAddress[slot]!, bytes, 0, bytes.length);
    else memory.write(address, bytes);
    this.spareContents.push(contents);
    this.postRequests(slot, region.registered!, address);
  }

  /** One request for each region that the message touches. */
  private postRequests(slot: number, { parts }: RegisteredBuffer, address: number): void {
    const { operation, messageBytes } = this.options;
    const write = operation === 'write';
    const end = address + messageBytes;
    for (const part of parts) {
      const from = Math.max(address, part.address);
      const to = Math.min(end, part.address + part.length);
      if (from >= to) continue;
      const localAddress = this.slotAddress[slot]! + from - address;
      const request = { write, remoteAddress: from, remoteKey: part.key, localAddress, bytes: to - from };
      this.machine.farHost.post(this.slotPair[slot]!, request, to === end);
    }
  }

  private ended(slot: number): void {
    const { events, farHost, metrics, counters } = this.machine;
    const { operation, messageBytes } = this.options;
    const message = this.slotMessage[slot]!;
    const region = this.regionOf(message);
    // the comparison may have to wait for memory that moves, and the message has not
    const endedAt = events.now;
    const syndrome = farHost.syndromeOf(this.slotPair[slot]!);
    const failed = syndrome !== 0 || !this.check(slot, region);
    this.busy[this.busyIndexOf(message)] = 0;
    this.lying[region.buffer * this.placesUsed + this.placeOf(message)] = failed ? -1 : message;
    region.underWay -= 1;
    this.completed += 1;
    if (syndrome !== 0)
      this.fail(message, `the adapter reports syndrome 0x${syndrome.toString(16)}${this.whyRefused()}`);
    else if (failed) this.fail(message, 'it brought other bytes than were sent');
    else counters.add(operation === 'write' ? 'bytesWritten' : 'bytesRead', messageBytes);
    counters.add('requests', 1);
    metrics.recordIoLatency(endedAt, picoseconds(endedAt - this.slotPostedAt[slot]!), failed ? 0 : messageBytes);
    this.retry();
    this.take(slot);
    this.releaseAtEnd();
  }

  private whyRefused(): string {
    const { refusal } = this.registrar;
    return refusal === '' ? '' : `, since a page was refused: ${refusal.replace(/\.$/u, '')}`;
  }

  /** Whether what arrived is what was sent. */
  private check(slot: number, region: Region): boolean {
    const { memory } = this;
    const message = this.slotMessage[slot]!;
    const contents = this.contentsOf(message);
    const { found } = contents;
    if (this.options.operation === 'write') memory.read(this.addressOf(region.buffer, this.placeOf(message)), found);
    else this.machine.farHost.memory.readBytes(this.slotAddress[slot]!, found, 0, found.length);
    const different = contents.differences();
    this.spareContents.push(contents);
    this.mismatches += different;
    return different === 0;
  }

  private contentsOf(message: number): RdmaContents {
    const contents = this.spareContents.pop() ?? new RdmaContents(this.options.messageBytes);
    contents.make(message, this.generationOf(message));
    return contents;
  }

  /** What lies in a buffer at the end is what its last messages left there, and no other message has spoiled it. */
  private checkBuffer(buffer: number): void {
    const { memory, placesUsed, lying } = this;
    for (let place = 0; place < placesUsed; place += 1) {
      const message = lying[buffer * placesUsed + place]!;
      if (message < 0) continue;
      const contents = this.contentsOf(message);
      memory.read(this.addressOf(buffer, place), contents.found);
      const different = contents.differences();
      this.spareContents.push(contents);
      if (different === 0) continue;
      this.mismatches += different;
      this.fail(message, 'its bytes were spoiled later');
    }
  }

  private fail(message: number, why: string): void {
    this.failed += 1;
    this.machine.counters.add('messagesFailed', 1);
    this.machine.log.add(
      this.machine.events.now,
      'error',
      this.options.name,
      `message ${String(message)} failed: ${why}.`,
    );
  }

  private releaseAtEnd(): void {
    if (this.completed < this.total || this.releasing) return;
    this.releasing = true;
    const release = (): void => {
      this.task(RELEASE, 0);
    };
    if (this.changes === null) release();
    else this.changes.stop(release);
  }

  private release(index: number): void {
    this.deregister(this.regions[index]!);
    if (index + 1 < this.regions.length) {
      this.task(RELEASE, index + 1);
      return;
    }
    this.registrar.release(this.cpu);
    for (let buffer = 0; buffer < this.buffers.length; buffer += 1) this.checkBuffer(buffer);
    this.memory.release();
    this.released = true;
  }
}
