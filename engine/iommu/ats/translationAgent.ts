/**
 * The root complex's answer to translation requests (PCI Express Base Specification 10.2.2, 10.2.3): a request asks for one or more
 * entries of eight bytes, the IOMMU is asked for each, and the entries go back in a completion, encoded. What is not mapped is a
 * successful completion without R and W, so that the device may make a page request; what the IOMMU cannot do at all is an
 * Unsupported Request, what it finds broken a Completer Abort (RISC-V IOMMU specification 1.0, 3.6; VT-d specification 4.1.3).
 * A request takes every link up to the root complex, twice the way through that, and the links down.
 * Leaves out: completions cut in two, execute permission; an answer takes its time on the downstream link but not its place.
 */
import { TranslationEntry } from '../../pcie/atsMessages.ts';
import { COMPLETION_OVERHEAD_BYTES, REQUEST_OVERHEAD_BYTES } from '../../pcie/link.ts';
import type { AtsTranslator } from '../../pcie/translator.ts';
import type { Way } from '../../pcie/way.ts';
import { picoseconds, type Picoseconds } from '../../time/picoseconds.ts';
import { FAULT_ADDRESS_BEYOND_WIDTH, FAULT_READ_NOT_ALLOWED, FAULT_WRITE_NOT_ALLOWED } from '../faults.ts';

/** Of a completion: success, Unsupported Request, Completer Abort. */
export const ATS_SUCCESS = 0;
export const ATS_UNSUPPORTED_REQUEST = 1;
export const ATS_COMPLETER_ABORT = 4;

const ENTRY_BYTES = 8;
const MOST_ENTRIES = 64;

/** What a fault of the IOMMU answers a translation request with. */
export type FaultAnswer = (fault: number) => number;

const RISCV_NO_ACCESS: ReadonlySet<number> = new Set([12, 13, 15, 20, 21, 23, 262, 266]);
/** All inbound transactions disallowed, DDT entry not valid or unsupported, transaction type disallowed. */
const RISCV_UNSUPPORTED_FIRST = 256;
const RISCV_UNSUPPORTED_LAST = 260;

/** By the cause codes of RISC-V's fault queue (RISC-V IOMMU specification 1.0, 3.6 and 4.2, CAUSE). */
export function answerOfRiscvCause(cause: number): number {
  if (RISCV_NO_ACCESS.has(cause)) return ATS_SUCCESS;
  return cause >= RISCV_UNSUPPORTED_FIRST && cause <= RISCV_UNSUPPORTED_LAST
    ? ATS_UNSUPPORTED_REQUEST
    : ATS_COMPLETER_ABORT;
}

/** By the fault reasons of faults.ts: a page that is absent or does not allow it is an answer, a broken table is not. */
export function answerOfFaultReason(reason: number): number {
  switch (reason) {
    case FAULT_READ_NOT_ALLOWED:
    case FAULT_WRITE_NOT_ALLOWED:
    case FAULT_ADDRESS_BEYOND_WIDTH:
      return ATS_SUCCESS;
    default:
      return ATS_UNSUPPORTED_REQUEST;
  }
}

export interface TranslationAgentOptions {
  readonly translator: AtsTranslator;
  /** Of the device to the root complex. */
  readonly way: Way;
  /** One way through the root complex. */
  readonly rootComplex: Picoseconds;
  readonly answerOf: FaultAnswer;
  /** Pages that a device must reach by untranslated requests; default: the window of interrupts on x86. */
  readonly untranslatedOnly?: { readonly firstPage: number; readonly lastPage: number };
}

const MSI_WINDOW = { firstPage: 0xfee00, lastPage: 0xfeeff };

export class TranslationAgent {
  /** Of the last answer: its entries, encoded, and when the device has them. */
  readonly words = new Uint32Array(MOST_ENTRIES * 2);
  entries = 0;
  readyAt: Picoseconds = picoseconds(0);
  /** Requests that were answered, and entries sent. */
  requests = 0;
  private readonly options: TranslationAgentOptions;
  private readonly entry = new TranslationEntry();

  constructor(options: TranslationAgentOptions) {
    this.options = options;
  }

  /**
   * A device asks at `at` for `count` entries from a page on. Returns the status; entries follow each other without gaps and end
   * where the first one is missing.
   */
  request(sourceId: number, pasid: number, iovaPage: number, count: number, write: boolean, at: Picoseconds): number {
    const { translator, way, rootComplex, answerOf } = this.options;
    const arrived = picoseconds(way.messageUp(REQUEST_OVERHEAD_BYTES, at) + rootComplex);
    this.requests += 1;
    this.entries = 0;
    let known: number = arrived;
    let status = ATS_SUCCESS;
    for (let page = iovaPage; this.entries < count;) {
      const found = translator.translationRequest(sourceId, pasid, page, write, arrived);
      known = Math.max(known, translator.readyAt);
      if (!translator.atsEnabled) {
        status = ATS_UNSUPPORTED_REQUEST;
        break;
      }
      if (!found) {
        if (this.entries > 0) break;
        status = answerOf(translator.fault);
        if (status === ATS_SUCCESS) this.noAccess();
        break;
      }
      const { sizePages } = translator;
      this.translated(page);
      page += sizePages - (page % sizePages);
    }
    const wire = COMPLETION_OVERHEAD_BYTES + this.entries * ENTRY_BYTES;
    this.readyAt = picoseconds(known + rootComplex + way.downTime(wire));
    return status;
  }

  private translated(iovaPage: number): void {
    const { translator, untranslatedOnly = MSI_WINDOW } = this.options;
    const { entry } = this;
    entry.pages = translator.sizePages;
    entry.page = translator.physPage - (translator.physPage % entry.pages);
    entry.permissions = translator.permissions;
    const last = iovaPage - (iovaPage % entry.pages) + entry.pages - 1;
    entry.untranslatedOnly =
      iovaPage - (iovaPage % entry.pages) <= untranslatedOnly.lastPage && last >= untranslatedOnly.firstPage;
    this.send();
  }

  private noAccess(): void {
    const { entry } = this;
    entry.page = 0;
    entry.pages = 1;
    entry.permissions = 0;
    entry.untranslatedOnly = false;
    this.send();
  }

  private send(): void {
    this.entry.encode(this.words, this.entries * 2);
    this.entries += 1;
  }
}
