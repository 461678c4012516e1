/**
 * The way of a device without page requests of its own to a page, behind an SMMU: its transaction stalls in the SMMU, which reports it,
 * and goes on or ends as software says (Arm SMMUv3 specification IHI 0070, 3.12.2).
 * Leaves out: other transactions of the device, which here wait behind the stalled one.
 */
import { REQUEST_OVERHEAD_BYTES } from '../../pcie/link.ts';
import type { PageFaultPath } from '../../pcie/pageFaultPath.ts';
import { NO_PASID, type AtsTranslator } from '../../pcie/translator.ts';
import type { Way } from '../../pcie/way.ts';
import { picoseconds, type Picoseconds } from '../../time/picoseconds.ts';
import { FAULT_READ_NOT_ALLOWED, FAULT_WRITE_NOT_ALLOWED } from '../faults.ts';
import { F_PERMISSION, F_TRANSLATION, NO_SUBSTREAM } from './smmuEvents.ts';
import type { StalledTransactions } from './stalledTransactions.ts';

export interface StallFaultPathOptions {
  readonly streamId: number;
  readonly translator: AtsTranslator;
  readonly stalled: StalledTransactions;
  readonly way: Way;
  /** One way through the root complex. */
  readonly rootComplex: Picoseconds;
}

export class StallFaultPath implements PageFaultPath {
  readyAt: Picoseconds = picoseconds(0);
  mayAsk = false;
  private readonly options: StallFaultPathOptions;

  constructor(options: StallFaultPathOptions) {
    this.options = options;
  }

  present(page: number, write: boolean, at: Picoseconds): boolean {
    const { translator, streamId, way, rootComplex } = this.options;
    const arrives = picoseconds(way.messageUp(REQUEST_OVERHEAD_BYTES, at) + rootComplex);
    const found = translator.translationRequest(streamId, NO_PASID, page, write, arrives);
    this.readyAt = translator.readyAt;
    const allowed = found && (translator.permissions & (write ? 2 : 1)) !== 0;
    const { fault } = translator;
    this.mayAsk = found || fault === FAULT_READ_NOT_ALLOWED || fault === FAULT_WRITE_NOT_ALLOWED;
    return allowed;
  }

  /** Each page stalls by itself; all of them must have ended. */
  ask(firstPage: number, pages: number, write: boolean, done: (again: boolean) => void): void {
    const { stalled, streamId, translator } = this.options;
    const event = translator.permissions === 0 ? F_TRANSLATION : F_PERMISSION;
    let waiting = pages;
    let again = true;
    for (let iovaPage = firstPage; iovaPage < firstPage + pages; iovaPage += 1) {
      stalled.hold({
        streamId,
        substreamId: NO_SUBSTREAM,
        iovaPage,
        write,
        stage2: false,
        event,
        ended: (end) => {
          waiting -= 1;
          again &&= end === 'retry';
          if (waiting === 0) done(again);
        },
      });
    }
  }
}
