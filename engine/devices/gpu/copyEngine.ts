/**
 * The copy engine of a GPU: it moves bytes between the device's memory and the bus by DMA through the device's own port, and from
 * one place of the memory to another, and raises an interrupt when a command has ended. Commands run one after the other; the requests
 * of one command overlap as far as the engine's buffer reaches. Bus addresses are all that it knows: what the IOMMU refuses ends the
 * command with an error, and a read that was refused is not written anywhere.
 * Leaves out: rings of commands in memory, fences written to memory, page tables of the device, fills and formats.
 */
import { dmaAddr } from '../../memory/addresses.ts';
import type { DmaPort } from '../../pcie/dmaPort.ts';
import type { EventHandler, EventQueue } from '../../time/eventQueue.ts';
import { LabError } from '../../time/labError.ts';
import { picoseconds, type Picoseconds } from '../../time/picoseconds.ts';
import type { GpuMemory } from './gpuMemory.ts';
import type { GpuParameters } from './gpuParameters.ts';

/** One end of a copy. */
export interface CopyPlace {
  /** `device`: an offset of the GPU's memory; `bus`: a bus address. */
  readonly space: 'device' | 'bus';
  readonly address: number;
}

export interface CopySegment {
  readonly from: CopyPlace;
  readonly to: CopyPlace;
  readonly bytes: number;
}

/** Told by the interrupt of a command: 0, or how many of its requests were refused. */
export type CopyDone = (refused: number) => void;

interface Command {
  readonly segments: readonly CopySegment[];
  readonly done: CopyDone;
  segment: number;
  position: number;
  inFlight: number;
  refused: number;
}

/** A request's worth of bytes in the engine's buffer. */
interface Slot {
  readonly bytes: Uint8Array;
  to: CopyPlace;
  length: number;
}

const DOORBELL = 0;
const BEGIN = 1;
const READ = 2;
const LOADED = 3;
const WRITTEN = 4;
const INTERRUPT = 5;

export class CopyEngine implements EventHandler {
  /** Commands that have ended. */
  completed = 0;
  private readonly name: string;
  private readonly port: DmaPort;
  private readonly events: EventQueue;
  private readonly memory: GpuMemory;
  private readonly parameters: GpuParameters;
  private readonly slots: Slot[] = [];
  private readonly idle: number[] = [];
  /** Rung for and not begun, oldest first; the first of them may be under way. */
  private readonly commands: Command[] = [];
  private readonly ended: Command[] = [];
  private running = false;

  constructor(name: string, port: DmaPort, events: EventQueue, memory: GpuMemory, parameters: GpuParameters) {
    this.name = name;
    this.port = port;
    this.events = events;
    this.memory = memory;
    this.parameters = parameters;
    const slots = Math.max(1, Math.floor(parameters.copyBytesInFlight / parameters.copyRequestBytes));
    for (let index = 0; index < slots; index += 1) {
      const bytes = new Uint8Array(parameters.copyRequestBytes);
      this.slots.push({ bytes, to: { space: 'device', address: 0 }, length: 0 });
      this.idle.push(index);
    }
  }

  /** No command waits or is under way. */
  get quiet(): boolean {
    return this.commands.length === 0 && this.ended.length === 0;
  }

  /** A command, whose doorbell a CPU rings at `at`. */
  submit(segments: readonly CopySegment[], at: Picoseconds, done: CopyDone): void {
    for (const segment of segments) this.check(segment);
    this.commands.push({ segments, done, segment: 0, position: 0, inFlight: 0, refused: 0 });
    this.events.schedule(this.port.mmioWrite(at), this, DOORBELL);
  }

  handleEvent(kind: number, argument: number): void {
    switch (kind) {
      case DOORBELL:
        this.next();
        break;
      case BEGIN:
        this.issue();
        break;
      case READ:
        if (this.port.lastStatus === 0) this.store(this.slots[argument]!, argument);
        else this.free(argument, 1);
        break;
      case LOADED:
        this.store(this.slots[argument]!, argument);
        break;
      case WRITTEN:
        this.free(argument, this.slots[argument]!.to.space === 'bus' ? this.port.lastStatus : 0);
        break;
      case INTERRUPT: {
        const { done, refused } = this.ended.shift()!;
        this.completed += 1;
        done(refused);
        break;
      }
    }
  }

  private next(): void {
    if (this.running || this.commands.length === 0) return;
    this.running = true;
    this.events.schedule(picoseconds(this.events.now + this.parameters.copyOverhead), this, BEGIN);
  }

  private issue(): void {
    const command = this.commands[0]!;
    for (;;) {
      const segment = command.segments[command.segment];
      if (segment === undefined) break;
      const index = this.idle.pop();
      if (index === undefined) return;
      const { from, to, bytes } = segment;
      const slot = this.slots[index]!;
      slot.length = Math.min(bytes - command.position, slot.bytes.length);
      slot.to = { space: to.space, address: to.address + command.position };
      this.load({ space: from.space, address: from.address + command.position }, slot, index);
      command.inFlight += 1;
      command.position += slot.length;
      if (command.position < bytes) continue;
      command.segment += 1;
      command.position = 0;
    }
    if (command.inFlight === 0) this.end(command);
  }

  private load({ space, address }: CopyPlace, slot: Slot, index: number): void {
    if (space === 'bus') {
      this.port.read(dmaAddr(address), slot.length, slot.bytes, 0, this, READ, index);
      return;
    }
    const ready = this.memory.read(address, slot.bytes, 0, slot.length, this.events.now);
    this.events.schedule(picoseconds(ready), this, LOADED, index);
  }

  private store({ to, bytes, length }: Slot, index: number): void {
    if (to.space === 'bus') {
      this.port.write(dmaAddr(to.address), length, bytes, 0, this, WRITTEN, index);
      return;
    }
    const written = this.memory.write(to.address, bytes, 0, length, this.events.now);
    this.events.schedule(picoseconds(written), this, WRITTEN, index);
  }

  private free(index: number, refused: number): void {
    const command = this.commands[0]!;
    command.refused += refused;
    command.inFlight -= 1;
    this.idle.push(index);
    this.issue();
  }

  private end(command: Command): void {
    this.commands.shift();
    this.running = false;
    this.ended.push(command);
    this.port.raiseInterrupt(this, INTERRUPT, 0);
    this.next();
  }

  private check({ from, to, bytes }: CopySegment): void {
    for (const { space, address } of [from, to]) {
      if (space === 'bus' || (address >= 0 && address + bytes <= this.memory.bytes)) continue;
      throw new LabError(
        this.name,
        `a copy of ${String(bytes)} bytes at offset 0x${address.toString(16)} lies outside its memory.`,
        `It has ${String(this.memory.bytes)} bytes.`,
      );
    }
  }
}
