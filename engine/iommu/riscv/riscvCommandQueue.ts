/**
 * The command queue of a RISC-V IOMMU: a ring of 16-byte commands in memory, taken in order, and IOFENCE.C behind each submission
 * (RISC-V IOMMU specification 1.0, 4.1; Linux drivers/iommu/riscv/iommu.c `riscv_iommu_cmd_sync`, which spins on the head register).
 * A command that the hardware does not know sets cqcsr.cmd_ill, and the queue stands there until software turns it off and on. A device that
 * does not answer ATS.INVAL sets cqcsr.cmd_to at the fence behind, which is taken again when software has cleared the bit. The bits are
 * listed in riscvCommands.ts.
 * Leaves out: interrupts, memory faults of the queue (cqmf).
 */
import type { FrameAllocator } from '../../memory/frameAllocator.ts';
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { COUNTER, type Counters } from '../../metrics/counters.ts';
import { InvalidateRange } from '../../pcie/atsMessages.ts';
import { NO_PASID } from '../../pcie/translator.ts';
import type { Picoseconds } from '../../time/picoseconds.ts';
import { EVERY_PROCESS, NO_GUEST, type CacheInvalidation } from '../cacheInvalidation.ts';
import { EVERY_SPACE } from '../caches/owner.ts';
import { NO_DEVICES, type InvalidatedDevices } from '../ats/deviceTlbs.ts';
import type { CommandQueue, InvalidationCosts } from '../commandRing.ts';
import {
  ADDRESS_SHIFT,
  AV,
  COMMAND_WORDS,
  DID_SHIFT,
  DV,
  fence,
  FUNC_ATS_INVAL,
  FUNC_ATS_PRGR,
  FUNC_FENCE,
  FUNC_GVMA,
  FUNC_INVAL_DDT,
  FUNC_INVAL_PDT,
  FUNC_VMA,
  GSCID_SHIFT,
  GV,
  NL,
  OPCODE_ATS,
  OPCODE_IODIR,
  OPCODE_IOFENCE,
  OPCODE_IOTINVAL,
  PSCV,
  RANGE,
} from './riscvCommands.ts';

const RING_COMMANDS = 256;
const FUNC_SHIFT = 7;
const FUNC_MASK = 7;
const OPCODE_MASK = 0x7f;
const ADDRESS_LOW = 2 ** 22;
const LOW_WORDS = 2 ** 10;
const LOW_PAGES = 2 ** 22;
/** Pages of a 64-bit address space. */
const ALL_PAGES = 2 ** 52;

export interface RiscvQueueOptions {
  readonly memory: PhysicalMemory;
  readonly frames: FrameAllocator;
  readonly caches: CacheInvalidation;
  readonly costs: InvalidationCosts;
  readonly counters: Counters;
  /** capabilities.NL and capabilities.S: without them their bits are reserved. */
  readonly nonLeaf?: boolean;
  readonly ranges?: boolean;
  readonly deviceTlbs?: InvalidatedDevices;
}

/** The tag of a guest's translations in the caches. */
export function guestTag(gscid: number): number {
  return NO_GUEST + 1 + gscid;
}

export class RiscvCommandQueue implements CommandQueue {
  readonly ringPage: number;
  /** cqcsr.cmd_ill: the queue stands at a command that it does not know. */
  illegal = false;
  /** cqcsr.cmd_to: the queue stands at a fence behind an ATS.INVAL that no device answered. */
  timedOut = false;
  /** How often software has cleared it. */
  timeOuts = 0;
  private readonly options: RiscvQueueOptions;
  private readonly deviceTlbs: InvalidatedDevices;
  private readonly range = new InvalidateRange();
  private readonly payload = new Uint32Array(2);
  private readonly fence = new Uint32Array(COMMAND_WORDS);
  private produced = 0;
  private consumed = 0;
  private busyUntil = 0;
  /** A device has not answered, and no fence has said so yet. */
  private unanswered = false;

  constructor(options: RiscvQueueOptions) {
    this.options = options;
    this.deviceTlbs = options.deviceTlbs ?? NO_DEVICES;
    this.ringPage = options.frames.allocatePage();
    fence(this.fence, 0);
  }

  /** cqh: the command at which the hardware is. */
  get head(): number {
    return this.consumed % RING_COMMANDS;
  }

  /**
   * `count` commands of four words each, followed by IOFENCE.C. The caches change at once; returns when the CPU that submitted at `at`
   * sees that the head has passed them.
   */
  submit(commands: Uint32Array, count: number, at: Picoseconds): Picoseconds {
    const { costs } = this.options;
    const start = Math.max(at, this.busyUntil);
    this.deviceTlbs.begin(start as Picoseconds);
    for (let index = 0; index < count; index += 1) this.produce(commands, index);
    this.produce(this.fence, 0);
    if (this.timedOut) this.clearTimeOut();
    if (this.illegal) throw new Error(`the command queue stands at its command ${String(this.head)}: illegal`);
    this.busyUntil = start + costs.invalidationService * count;
    const served = start + costs.invalidationWait + costs.invalidationDescriptor * (count - 1);
    return (served + Math.max(0, this.deviceTlbs.end() - start)) as Picoseconds;
  }

  /** One command into the ring, and the tail behind it; the hardware takes what it can. */
  produce(commands: Uint32Array, index: number): void {
    const { memory } = this.options;
    const word = (this.produced % RING_COMMANDS) * COMMAND_WORDS;
    for (let part = 0; part < COMMAND_WORDS; part += 1) {
      memory.writeWord(this.ringPage, word + part, commands[index * COMMAND_WORDS + part]!);
    }
    this.produced += 1;
    this.consume();
  }

  /** cqcsr.cqen off and on: the ring is empty, and what stood in it is lost. */
  restart(): void {
    this.produced = 0;
    this.consumed = 0;
    this.illegal = false;
  }

  /** Software writes one to cqcsr.cmd_to, and the fence is taken again. */
  clearTimeOut(): void {
    this.timeOuts += 1;
    this.timedOut = false;
    this.unanswered = false;
    this.consume();
  }

  private consume(): void {
    const { memory } = this.options;
    while (this.consumed !== this.produced && !this.illegal && !this.timedOut) {
      const base = memory.locate(this.ringPage) + (this.consumed % RING_COMMANDS) * COMMAND_WORDS;
      const { words } = memory;
      if (this.serve(words[base]!, words[base + 1]!, words[base + 2]!, words[base + 3]!)) this.consumed += 1;
      else if (this.unanswered) this.timedOut = true;
      else this.illegal = true;
    }
  }

  /** False: the command is illegal, and nothing was done. */
  private serve(first: number, second: number, low: number, high: number): boolean {
    const func = (first >>> FUNC_SHIFT) & FUNC_MASK;
    switch (first & OPCODE_MASK) {
      case OPCODE_IOTINVAL:
        if (func === FUNC_VMA) return this.invalidateVma(first, second, low, high);
        return func === FUNC_GVMA && this.invalidateGvma(second, low);
      case OPCODE_IOFENCE:
        return func === FUNC_FENCE && this.passFence(first, second, low, high);
      case OPCODE_IODIR:
        return this.invalidateDirectory(func, first, second);
      case OPCODE_ATS:
        if (func === FUNC_ATS_INVAL) {
          const process = (second & 1) === 0 ? NO_PASID : first >>> 12;
          this.invalidateDeviceTlb((second >>> DID_SHIFT) & 0xffff, process, low, high);
        }
        return func === FUNC_ATS_INVAL || func === FUNC_ATS_PRGR;
      default:
        return false;
    }
  }

  private invalidateVma(first: number, second: number, low: number, high: number): boolean {
    const { caches, counters } = this.options;
    if (!this.extensionsKnown(second, low)) return false;
    const { values } = counters;
    const guest = (second & GV) === 0 ? NO_GUEST : guestTag((second >>> GSCID_SHIFT) & 0xffff);
    const space = (second & PSCV) === 0 ? EVERY_SPACE : first >>> 12;
    if ((first & AV) === 0) {
      values[COUNTER.invalidationsDomain]! += 1;
      caches.dropSpace(guest, space);
      return true;
    }
    values[COUNTER.invalidationsPage]! += 1;
    const address = (low >>> ADDRESS_SHIFT) + high * ADDRESS_LOW;
    let pages = 1;
    if ((low & RANGE) !== 0) {
      pages = 2;
      for (let rest = address; rest % 2 === 1 && pages < ALL_PAGES; rest = (rest - 1) / 2) pages *= 2;
    }
    const page = address - (address % pages);
    caches.dropRange(guest, space, page, page + pages - 1, (second & NL) === 0);
    return true;
  }

  /** What a guest's translations were combined from is not kept, so that an address takes the whole guest. */
  private invalidateGvma(second: number, low: number): boolean {
    const { caches, counters } = this.options;
    if (!this.extensionsKnown(second, low) || (second & PSCV) !== 0) return false;
    if ((second & GV) === 0) {
      counters.values[COUNTER.invalidationsGlobal]! += 1;
      caches.dropAll();
    } else {
      counters.values[COUNTER.invalidationsDomain]! += 1;
      caches.dropSpace(guestTag((second >>> GSCID_SHIFT) & 0xffff), EVERY_SPACE);
    }
    return true;
  }

  private extensionsKnown(second: number, low: number): boolean {
    const { nonLeaf = false, ranges = false } = this.options;
    return (nonLeaf || (second & NL) === 0) && (ranges || (low & RANGE) === 0);
  }

  /** The payload goes on the link as it is. */
  private invalidateDeviceTlb(deviceId: number, processId: number, low: number, high: number): void {
    const { range, payload, deviceTlbs } = this;
    this.options.counters.values[COUNTER.invalidationsDeviceTlb]! += 1;
    payload[0] = low;
    payload[1] = high;
    range.decode(payload, 0);
    deviceTlbs.invalidate(deviceId, processId, range.firstPage, range.pages, range.global);
    if (deviceTlbs.lost) this.unanswered = true;
  }

  private passFence(first: number, second: number, low: number, high: number): boolean {
    const { memory, counters } = this.options;
    if (this.unanswered) return false;
    counters.values[COUNTER.invalidationWaits]! += 1;
    if ((first & AV) === 0) return true;
    // the address counts words of 32 bits
    memory.writeWord((low >>> 10) + high * LOW_PAGES, low % LOW_WORDS, second);
    return true;
  }

  private invalidateDirectory(func: number, first: number, second: number): boolean {
    const { caches, counters } = this.options;
    const device = second >>> DID_SHIFT;
    const named = (second & DV) !== 0;
    if (func === FUNC_INVAL_DDT) {
      if (named) caches.dropDevices(device, 1, EVERY_PROCESS);
      else caches.dropAllDevices();
    } else if (func === FUNC_INVAL_PDT && named) {
      caches.dropDevices(device, 1, first >>> 12);
    } else {
      return false;
    }
    counters.values[COUNTER.invalidationsContext]! += 1;
    return true;
  }
}
