/**
 * The part of a drive that moves data over the bus, one for each direction: commands in order of arrival, cut into pieces of
 * at most one page, with a bounded number of pieces under way. A drive's DMA engine is bounded so too (tags, buffers between
 * it and the link), and the bound lets small fetches of entries and lists slip in between: were a whole transfer put on
 * the link at once, every fetch would wait behind it, and drives with long lists would look slower than they are.
 * Leaves out: fairness between commands within one direction.
 */
import { dmaAddr, PAGE_SIZE } from '../memory/addresses.ts';
import type { DmaPort } from '../pcie/dmaPort.ts';
import type { EventHandler } from '../time/eventQueue.ts';
import type { NvmeCommandContext } from './nvmeCommandContext.ts';

/** Pieces under way: 32 KiB, more than any link of one drive holds within a round trip of a microsecond. */
const WINDOW_PIECES = 8;

export class NvmeTransferEngine {
  private readonly port: DmaPort;
  private readonly contexts: readonly NvmeCommandContext[];
  private readonly toMemory: boolean;
  private readonly done: EventHandler;
  private readonly kind: number;
  private readonly waiting: number[] = [];
  private underWay = 0;

  /** `done` gets an event of `kind` with the command's slot for each piece, and answers by calling `pieceMoved`. */
  constructor(
    port: DmaPort,
    contexts: readonly NvmeCommandContext[],
    direction: 'toMemory' | 'fromMemory',
    done: EventHandler,
    kind: number,
  ) {
    this.port = port;
    this.contexts = contexts;
    this.toMemory = direction === 'toMemory';
    this.done = done;
    this.kind = kind;
  }

  /** Moves the whole buffer of a command. */
  start(slot: number): void {
    this.contexts[slot]!.startTransfer();
    this.waiting.push(slot);
    this.pump();
  }

  /** One piece of this command has moved; true when it was the last. */
  pieceMoved(slot: number): boolean {
    const context = this.contexts[slot]!;
    context.pending -= 1;
    this.underWay -= 1;
    this.pump();
    return context.pending === 0 && context.transferred;
  }

  private pump(): void {
    while (this.underWay < WINDOW_PIECES && this.waiting.length > 0) {
      const slot = this.waiting[0]!;
      const context = this.contexts[slot]!;
      this.sendPiece(slot, context);
      if (context.transferred) this.waiting.shift();
    }
  }

  private sendPiece(slot: number, context: NvmeCommandContext): void {
    const { walk } = context;
    const address = walk.address[context.range]! + context.rangeOffset;
    const left = walk.length[context.range]! - context.rangeOffset;
    const piece = Math.min(left, PAGE_SIZE - (address % PAGE_SIZE));
    const offset = context.bufferOffset;
    context.pending += 1;
    this.underWay += 1;
    context.advanceTransfer(piece);
    const bytes = context.bufferBytes!;
    if (this.toMemory) this.port.write(dmaAddr(address), piece, bytes, offset, this.done, this.kind, slot);
    else this.port.read(dmaAddr(address), piece, bytes, offset, this.done, this.kind, slot);
  }
}
