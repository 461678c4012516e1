/**
 * The command queue of the SMMUv3: a ring of 16-byte commands in memory, taken in order, and CMD_SYNC behind each submission (Arm
 * SMMUv3 specification IHI 0070, 4.1, 4.7 and 7.1; Linux drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c `arm_smmu_cmdq_issue_cmdlist`,
 * `__arm_smmu_cmdq_skip_err`). The bits are listed in smmuCommands.ts; what many CPUs cost each other in queueContention.ts.
 * A command that the hardware does not know raises GERROR.CMDQ_ERR with CERROR_ILL and stops the queue there; Linux then puts a
 * CMD_SYNC in its place and lets the queue go on. A device that does not answer an ATC invalidation stops it at the CMD_SYNC behind, with
 * CERROR_ATC_INV_SYNC; Linux lets that CMD_SYNC be taken again.
 * Leaves out: the realm of EL2 and EL3, PRI_RESP's way to the device, TTL, which narrows what TLBI drops and is a hint.
 */
import type { FrameAllocator } from '../../memory/frameAllocator.ts';
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { COUNTER, type Counters } from '../../metrics/counters.ts';
import { NO_PASID } from '../../pcie/translator.ts';
import type { Picoseconds } from '../../time/picoseconds.ts';
import { EVERY_PROCESS, type CacheInvalidation } from '../cacheInvalidation.ts';
import { EVERY_SPACE } from '../caches/owner.ts';
import { NO_DEVICES, type InvalidatedDevices } from '../ats/deviceTlbs.ts';
import type { CommandQueue, InvalidationCosts } from '../commandRing.ts';
import { NO_CONTENTION, SharedLine, type QueueContention } from './queueContention.ts';
import {
  CMD_ATC_INV,
  CMD_CFGI_CD,
  CMD_CFGI_CD_ALL,
  CMD_CFGI_STE,
  CMD_CFGI_STE_RANGE,
  CMD_PREFETCH_ADDR,
  CMD_PREFETCH_CONFIG,
  CMD_PRI_RESP,
  CMD_RESUME,
  CMD_STALL_TERM,
  CMD_SYNC,
  CMD_TLBI_NH_ALL,
  CMD_TLBI_NH_ASID,
  CMD_TLBI_NH_VA,
  CMD_TLBI_NH_VAA,
  CMD_TLBI_NSNH_ALL,
  CMD_TLBI_S12_VMALL,
  CMD_TLBI_S2_IPA,
  COMMAND_WORDS,
  EVERY_STREAM,
  RESUME_ABORT,
  RESUME_RETRY,
  SSV,
} from './smmuCommands.ts';
import type { StalledTransactions } from './stalledTransactions.ts';

const RING_COMMANDS = 256;
/** What CMD_SYNC writes. */
const SYNC_DONE = 2;
const LOW_PAGES = 2 ** 20;
const SUBSTREAM_SHIFT = 12;
const NO_ERROR = 0;
export const CERROR_ILL = 1;
const CERROR_ATC_INV_SYNC = 3;
const ATC_GLOBAL = 1 << 9;

export interface SmmuQueueOptions {
  readonly memory: PhysicalMemory;
  readonly frames: FrameAllocator;
  readonly caches: CacheInvalidation;
  readonly costs: InvalidationCosts;
  readonly counters: Counters;
  readonly contention?: QueueContention;
  readonly stalls?: StalledTransactions;
  readonly deviceTlbs?: InvalidatedDevices;
}

export class SmmuCommandQueue implements CommandQueue {
  readonly ringPage: number;
  readonly statusPage: number;
  /** CMDQ_CONS.ERR of the command at which the queue stands; 0 while it runs. */
  error = NO_ERROR;
  /** Commands that were refused so far. */
  refused = 0;
  /** ATC invalidations that no device answered, by the CMD_SYNC behind them. */
  timeOuts = 0;
  private readonly options: SmmuQueueOptions;
  private readonly deviceTlbs: InvalidatedDevices;
  /** A device has not answered, and no CMD_SYNC has said so yet. */
  private unanswered = false;
  private readonly line: SharedLine;
  private produced = 0;
  private consumed = 0;
  private busyUntil = 0;

  constructor(options: SmmuQueueOptions) {
    this.options = options;
    this.deviceTlbs = options.deviceTlbs ?? NO_DEVICES;
    this.line = new SharedLine(options.contention ?? NO_CONTENTION);
    this.ringPage = options.frames.allocatePage();
    this.statusPage = options.frames.allocatePage();
  }

  /**
   * `count` commands of four words each, followed by a CMD_SYNC. The caches change at once; returns when the CPU that submitted at
   * `at` sees what CMD_SYNC wrote.
   */
  submit(commands: Uint32Array, count: number, at: Picoseconds): Picoseconds {
    const { costs, memory } = this.options;
    const placed = this.line.take(at);
    const start = Math.max(placed, this.busyUntil);
    this.deviceTlbs.begin(start as Picoseconds);
    for (let index = 0; index < count; index += 1) {
      const word = index * COMMAND_WORDS;
      this.produce(commands[word]!, commands[word + 1]!, commands[word + 2]!, commands[word + 3]!);
    }
    memory.writeWord(this.statusPage, 0, 0);
    const page = this.statusPage;
    this.produce(CMD_SYNC | (1 << 12), SYNC_DONE, (page << 12) >>> 0, Math.floor(page / LOW_PAGES));
    if (memory.readWord(page, 0) !== SYNC_DONE) throw new Error('the command queue lost its CMD_SYNC');
    this.busyUntil = start + costs.invalidationService * count;
    const served = start + costs.invalidationWait + costs.invalidationDescriptor * (count - 1);
    return (served + Math.max(0, this.deviceTlbs.end() - start)) as Picoseconds;
  }

  /** The driver puts a command into the ring and moves the tail; the hardware takes what it can. */
  private produce(first: number, second: number, low: number, high: number): void {
    const { memory } = this.options;
    const word = (this.produced % RING_COMMANDS) * COMMAND_WORDS;
    memory.writeWord(this.ringPage, word, first);
    memory.writeWord(this.ringPage, word + 1, second);
    memory.writeWord(this.ringPage, word + 2, low);
    memory.writeWord(this.ringPage, word + 3, high);
    this.produced += 1;
    this.consume();
    if (this.error !== NO_ERROR) this.skipError();
  }

  /** The hardware: commands in order, up to the tail or to one that it does not know. */
  private consume(): void {
    const { memory } = this.options;
    while (this.consumed !== this.produced && this.error === NO_ERROR) {
      const base = memory.locate(this.ringPage) + (this.consumed % RING_COMMANDS) * COMMAND_WORDS;
      const { words } = memory;
      if (this.serve(words[base]!, words[base + 1]!, words[base + 2]!, words[base + 3]!)) this.consumed += 1;
      else this.error = this.unanswered ? CERROR_ATC_INV_SYNC : CERROR_ILL;
    }
  }

  /**
   * `__arm_smmu_cmdq_skip_err`: a CMD_SYNC that tells nobody, in place of the command; then the error is acknowledged. After a time-out the
   * CMD_SYNC stays as it is.
   */
  private skipError(): void {
    const { memory } = this.options;
    if (this.error === CERROR_ATC_INV_SYNC) {
      this.timeOuts += 1;
      this.unanswered = false;
      this.error = NO_ERROR;
      this.consume();
      return;
    }
    const word = (this.consumed % RING_COMMANDS) * COMMAND_WORDS;
    memory.writeWord(this.ringPage, word, CMD_SYNC);
    for (let rest = 1; rest < COMMAND_WORDS; rest += 1) memory.writeWord(this.ringPage, word + rest, 0);
    this.refused += 1;
    this.error = NO_ERROR;
    this.consume();
  }

  /** False: the command is illegal, and nothing was done. */
  private serve(first: number, second: number, low: number, high: number): boolean {
    const { caches, counters, stalls } = this.options;
    const { values } = counters;
    const vmid = second & 0xffff;
    const asid = second >>> 16;
    switch (first & 0xff) {
      case CMD_PREFETCH_CONFIG:
      case CMD_PREFETCH_ADDR:
      case CMD_PRI_RESP:
        return true;
      case CMD_CFGI_STE:
      case CMD_CFGI_CD_ALL:
        values[COUNTER.invalidationsContext]! += 1;
        caches.dropDevices(second, 1, EVERY_PROCESS);
        return true;
      case CMD_CFGI_STE_RANGE:
        values[COUNTER.invalidationsContext]! += 1;
        this.configureRange(second, low & 0x1f);
        return true;
      case CMD_CFGI_CD:
        values[COUNTER.invalidationsContext]! += 1;
        caches.dropDevices(second, 1, first >>> SUBSTREAM_SHIFT);
        return true;
      case CMD_TLBI_NSNH_ALL:
        values[COUNTER.invalidationsGlobal]! += 1;
        caches.dropAll();
        return true;
      case CMD_TLBI_NH_ALL:
      case CMD_TLBI_S12_VMALL:
        values[COUNTER.invalidationsDomain]! += 1;
        caches.dropSpace(vmid, EVERY_SPACE);
        return true;
      case CMD_TLBI_NH_ASID:
        values[COUNTER.invalidationsDomain]! += 1;
        caches.dropSpace(vmid, asid);
        return true;
      case CMD_TLBI_NH_VA:
        return this.invalidateAddresses(first, vmid, asid, low, high);
      case CMD_TLBI_NH_VAA:
        return this.invalidateAddresses(first, vmid, EVERY_SPACE, low, high);
      case CMD_TLBI_S2_IPA:
        // translations of both stages are kept by their first address, which this command does not know
        values[COUNTER.invalidationsPage]! += 1;
        caches.dropSpace(vmid, EVERY_SPACE);
        return true;
      case CMD_ATC_INV:
        this.invalidateDeviceTlb(first, second, low, high);
        return true;
      case CMD_RESUME: {
        const response = (first >>> 12) & 3;
        const end = response === RESUME_RETRY ? 'retry' : response === RESUME_ABORT ? 'abort' : 'readAsZero';
        if (response === (RESUME_RETRY | RESUME_ABORT)) return false;
        stalls?.resume(second, low & 0xffff, end);
        return true;
      }
      case CMD_STALL_TERM:
        stalls?.terminate(second);
        return true;
      case CMD_SYNC:
        if (this.unanswered) return false;
        this.synchronized(first, second, low, high);
        return true;
      default:
        return false;
    }
  }

  private configureRange(streamId: number, range: number): void {
    const { caches } = this.options;
    if (range === EVERY_STREAM) {
      caches.dropAllDevices();
      return;
    }
    const streams = 2 ** (range + 1);
    caches.dropDevices(streamId - (streamId % streams), streams, EVERY_PROCESS);
  }

  private invalidateAddresses(first: number, vmid: number, asid: number, low: number, high: number): boolean {
    const { caches, counters } = this.options;
    const granule = (low >>> 10) & 3;
    const number = (first >>> 12) & 0x1f;
    const scale = (first >>> 20) & 0x1f;
    // without a granule there is no range to speak of
    if (granule === 0 && (number !== 0 || scale !== 0)) return false;
    counters.values[COUNTER.invalidationsPage]! += 1;
    const granulePages = granule === 0 ? 1 : 4 ** (granule - 1);
    const page = (low >>> 12) + high * LOW_PAGES;
    const firstPage = page - (page % granulePages);
    const pages = (number + 1) * 2 ** scale * granulePages;
    caches.dropRange(vmid, asid, firstPage, firstPage + pages - 1, (low & 1) === 1);
    return true;
  }

  private invalidateDeviceTlb(first: number, second: number, low: number, high: number): void {
    const { deviceTlbs } = this;
    const substream = (first & SSV) === 0 ? NO_PASID : first >>> SUBSTREAM_SHIFT;
    const page = (low >>> 12) + high * LOW_PAGES;
    const pages = 2 ** Math.min(low & 0x3f, 52);
    this.options.counters.values[COUNTER.invalidationsDeviceTlb]! += 1;
    deviceTlbs.invalidate(second, substream, page - (page % pages), pages, (first & ATC_GLOBAL) !== 0);
    if (deviceTlbs.lost) this.unanswered = true;
  }

  private synchronized(first: number, second: number, low: number, high: number): void {
    const { memory, counters } = this.options;
    counters.values[COUNTER.invalidationWaits]! += 1;
    if (((first >>> 12) & 3) !== 1) return;
    memory.writeWord((low >>> 12) + high * LOW_PAGES, (low & 0xfff) >>> 2, second);
  }
}
