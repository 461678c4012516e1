/**
 * Where misuses of the DMA API come together: counted by kind, the first ones kept with their history, each named in the log,
 * and the run stopped at the first where that is wanted (Linux kernel/dma/debug.c: `err_printk`, and the pool of entries of
 * `dma_debug_create_entries`). Figures have the names of debugfs `dma-api/`.
 * Leaves out: `driver_filter`, and disabling itself for want of memory.
 */
import type { EventLog } from '../../metrics/eventLog.ts';
import type { DmaDevice } from '../device.ts';
import { ApiMisuseError } from './apiMisuseError.ts';
import { describeCall, type CallHistory, type RecordedCall } from './callHistory.ts';
import type { ApiMisuse, CheckerMode, CheckerResult, MisuseKind } from './misuse.ts';

/** `PREALLOC_DMA_DEBUG_ENTRIES`. */
const PREALLOCATED_ENTRIES = 65_536;
/** `DMA_DEBUG_DYNAMIC_ENTRIES`: a page of entries (assumed: its size depends on the kernel's configuration). */
const DYNAMIC_ENTRIES = 32;
/** Misuses that are kept in full, besides the first of each kind. The kernel prints only one by default (`num_errors`). */
const KEPT_MISUSES = 100;

export interface ApiCheckerOptions {
  readonly mode: Exclude<CheckerMode, 'off'>;
  readonly log: EventLog | null;
  /** False: nobody wants to know, and nothing may change by the checker's being there. */
  readonly heard?: boolean;
  /** `dev_driver_string`. */
  readonly driver: string;
}

export class ApiChecker {
  readonly mode: Exclude<CheckerMode, 'off'>;
  readonly heard: boolean;
  /** `error_count`. */
  errorCount = 0;
  /** `nr_total_entries`. */
  totalEntries = PREALLOCATED_ENTRIES;
  /** `num_free_entries`. */
  freeEntries = PREALLOCATED_ENTRIES;
  /** `min_free_entries`. */
  minFreeEntries = PREALLOCATED_ENTRIES;
  readonly misuses: ApiMisuse[] = [];
  private readonly byKind: Partial<Record<MisuseKind, number>> = {};
  private readonly log: EventLog | null;
  private readonly driver: string;
  private stopped = false;

  constructor(options: ApiCheckerOptions) {
    this.mode = options.mode;
    this.log = options.log;
    this.driver = options.driver;
    this.heard = options.heard ?? true;
  }

  /** Throws an ApiMisuseError where the checker stops at the first misuse. */
  report(
    kind: MisuseKind,
    message: string,
    device: DmaDevice,
    call: RecordedCall,
    history: CallHistory | null = null,
  ): void {
    this.errorCount += 1;
    this.byKind[kind] = (this.byKind[kind] ?? 0) + 1;
    const kept = this.misuses.length < KEPT_MISUSES || this.byKind[kind] === 1;
    if (!kept && this.mode === 'report') return;
    const misuse: ApiMisuse = {
      kind,
      message,
      driver: this.driver,
      device: device.name,
      at: call.at,
      cpu: call.cpu,
      call: describeCall(call),
      history: history === null ? [] : history.describe(),
      omitted: history === null ? 0 : history.omitted,
    };
    if (kept) {
      this.misuses.push(misuse);
      this.log?.add(call.at, 'error', 'DMA-API', `${misuse.driver} ${misuse.device}: ${message}`, this.misuses.length);
      if (this.misuses.length === KEPT_MISUSES && this.mode === 'report') {
        this.log?.add(call.at, 'warning', 'DMA-API', `${KEPT_MISUSES} misuses so far; further ones are only counted`);
      }
    }
    if (this.mode === 'report') return;
    this.stopped = true;
    throw new ApiMisuseError(misuse);
  }

  /** `dma_entry_alloc`: more entries come a page at a time when the pool is empty. */
  takeEntry(): void {
    if (this.freeEntries === 0) {
      this.freeEntries += DYNAMIC_ENTRIES;
      this.totalEntries += DYNAMIC_ENTRIES;
    }
    this.freeEntries -= 1;
    if (this.freeEntries < this.minFreeEntries) this.minFreeEntries = this.freeEntries;
  }

  /** `dma_entry_free`. */
  returnEntry(): void {
    this.freeEntries += 1;
  }

  result(): CheckerResult {
    return {
      mode: this.mode,
      errorCount: this.errorCount,
      byKind: { ...this.byKind },
      totalEntries: this.totalEntries,
      minFreeEntries: this.minFreeEntries,
      stopped: this.stopped,
      misuses: [...this.misuses],
    };
  }
}
