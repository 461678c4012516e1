/**
 * One recording while it is replayed: the emulated machine, what the commands have named so far, and on which CPU the next
 * call is made. The words (linuxApiWords.ts) work on it.
 */
import type { IovaTree } from '../dma/iova/iova.ts';
import type { Cpu } from '../time/cpu.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import type { ApiEventTrace } from './linuxApiEvents.ts';
import type { ApiMachine } from './linuxApiMachine.ts';
import { ApiObjects, type CommandReader } from './linuxApiObjects.ts';
import { type ApiFields, hexadecimal } from './linuxApiValue.ts';

const MOST_FILLED = 256 * 1024 * 1024;

/** What the module prints of a name that means nothing, or of a call that this kernel does not have. */
export const UNKNOWN_OBJECT: ApiFields = { error: 'unknown or missing object' };

export class ApiReplay {
  readonly machine: ApiMachine;
  readonly trace: ApiEventTrace;
  readonly objects: ApiObjects;
  /** A domain of IOVA that belongs to no device (`iod`). */
  iovaDomain: IovaTree | null = null;
  cpu: Cpu;
  /** Where the recording had a page of coherent memory, by where it lies here. */
  readonly relocated = new Map<number, number>();
  private readonly timerFollowsCaller: boolean;
  private timerCpu: Cpu | null = null;
  private filledBytes = 0;

  /** `timerFollowsCaller`: timers run where the calls are made, not where they were armed. */
  constructor(machine: ApiMachine, trace: ApiEventTrace, timerFollowsCaller = false) {
    this.machine = machine;
    this.timerFollowsCaller = timerFollowsCaller;
    this.trace = trace;
    this.objects = new ApiObjects(machine.system.iomem.bar0);
    this.cpu = this.cpuAt(0);
  }

  cpuAt(id: number): Cpu {
    const cpu = this.machine.cpus[id];
    if (cpu === undefined) throw new RangeError(`there is no CPU ${id}`);
    return cpu;
  }

  /** Is the domain that the calls go through one that translates? */
  get translated(): boolean {
    return this.machine.system.domain === 'strict' || this.machine.system.domain === 'lazy';
  }

  /**
   * The flush queue's timer runs on the CPU that armed it (`mod_timer` in `queue_iova`), unless that one sleeps: then another
   * CPU may run it in its place (Linux kernel/time/timer_migration.c).
   */
  fireTimer(): void {
    const { api, device } = this.machine;
    const armed = this.timerFollowsCaller ? null : this.timerCpu;
    api.flushQueueTimer(armed ?? this.cpu, device);
    this.timerCpu = null;
  }

  /** After each call: whoever put the first range into an empty queue has armed the timer. */
  noteTimer(): void {
    const queue = this.machine.api.translatedDevice(this.machine.device)?.flushQueue;
    if (queue === null || queue === undefined) return;
    if (queue.size > 0) this.timerCpu ??= this.cpu;
  }

  /** `iommu_iova_to_phys` of the device's domain; 0 where nothing is mapped or no domain is. */
  iovaToPhys(iova: number): number {
    const { api, device, system } = this.machine;
    if (system.domain === 'passthrough') return iova;
    const translated = api.translatedDevice(device);
    if (translated === null) return 0;
    return Math.max(translated.domain.iovaToPhys(iova), 0);
  }

  /** Writes one value over memory. A hostile recording could fill all memory again and again. */
  fill(command: CommandReader, phys: number, size: number, value: number): void {
    this.filledBytes += size;
    if (this.filledBytes > MOST_FILLED) throw command.error(`the recording fills more than ${MOST_FILLED} bytes.`);
    this.machine.memory.writeBytes(phys, new Uint8Array(size).fill(value), 0, size);
  }

  /** A physical address as the recorded machine had it. */
  shownPhys(phys: number): string {
    const page = Math.floor(phys / PAGE_SIZE);
    return hexadecimal((this.relocated.get(page) ?? page) * PAGE_SIZE + (phys % PAGE_SIZE));
  }
}

/** What a word does: makes the call and says what the kernel's module would have printed of it. */
export type Word = (replay: ApiReplay, command: CommandReader) => ApiFields;
