/**
 * Events of the SMMUv3: why a transaction was not translated, as a record of 32 bytes in a ring in memory (Arm SMMUv3 specification
 * IHI 0070, 7.2 and 7.3).
 *
 * | bits    | name      | meaning                                             |
 * | ------- | --------- | --------------------------------------------------- |
 * | 7:0     | ID        | which event                                         |
 * | 11      | SSV       | the transaction had a SubstreamID                   |
 * | 31:12   | SSID      | SubstreamID                                         |
 * | 63:32   | SID       | StreamID                                            |
 * | 79:64   | STAG      | name of the stalled transaction                     |
 * | 95      | STALL     | the transaction waits for CMD_RESUME                |
 * | 99      | RnW       | it was a read                                       |
 * | 103     | S2        | the fault is stage 2's                              |
 * | 191:128 | InputAddr | address                                             |
 *
 * Where the ring is full an event is lost and the overflow is noted; a stalled transaction's event waits instead for a free slot
 * (7.4). Leaves out: class, IPA and privilege of the fault, merged events, interrupts.
 */
import type { FrameAllocator } from '../../memory/frameAllocator.ts';
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';

export const C_BAD_STREAMID = 0x02;
export const F_STE_FETCH = 0x03;
export const C_BAD_STE = 0x04;
export const F_STREAM_DISABLED = 0x06;
export const C_BAD_SUBSTREAMID = 0x08;
export const F_CD_FETCH = 0x09;
export const C_BAD_CD = 0x0a;
export const F_WALK_EABT = 0x0b;
export const F_TRANSLATION = 0x10;
export const F_ADDR_SIZE = 0x11;
export const F_ACCESS = 0x12;
export const F_PERMISSION = 0x13;

/** A transaction without a SubstreamID. */
export const NO_SUBSTREAM = -1;
/** An event whose transaction does not stall. */
export const NO_STALL = -1;

const EVENT_WORDS = 8;
const RING_EVENTS = 128;
const SSV = 1 << 11;
const STALL = 2 ** 31;
/** Bits 99 and 103, in word 3. */
const READ_NOT_WRITE = 1 << 3;
const STAGE_2 = 1 << 7;
const LOW_PAGES = 2 ** 20;

export interface SmmuEvent {
  readonly id: number;
  readonly streamId: number;
  readonly substreamId: number;
  readonly stag: number;
  readonly write: boolean;
  readonly stage2: boolean;
  readonly iovaPage: number;
}

export class SmmuEventQueue {
  readonly ringPage: number;
  /** Events lost since software last asked (GERROR's and PROD.OVFLG's reason). */
  lost = 0;
  /** The interrupt: a record was written to an empty ring. */
  onPending: (() => void) | null = null;
  private readonly memory: PhysicalMemory;
  private readonly waiting: SmmuEvent[] = [];
  private produced = 0;
  private consumed = 0;

  constructor(memory: PhysicalMemory, frames: FrameAllocator) {
    this.memory = memory;
    this.ringPage = frames.allocatePage();
  }

  /** Events that software has not taken. */
  get pending(): number {
    return this.produced - this.consumed + this.waiting.length;
  }

  add(event: SmmuEvent): void {
    if (this.produced - this.consumed < RING_EVENTS) this.write(event);
    else if (event.stag === NO_STALL) this.lost += 1;
    else this.waiting.push(event);
  }

  /** Software reads the oldest record out of the ring; null where there is none. */
  take(): SmmuEvent | null {
    if (this.produced === this.consumed) return null;
    const { memory, ringPage } = this;
    const word = (this.consumed % RING_EVENTS) * EVENT_WORDS;
    const first = memory.readWord(ringPage, word);
    const third = memory.readWord(ringPage, word + 2);
    const fourth = memory.readWord(ringPage, word + 3);
    const event: SmmuEvent = {
      id: first & 0xff,
      substreamId: (first & SSV) === 0 ? NO_SUBSTREAM : first >>> 12,
      streamId: memory.readWord(ringPage, word + 1),
      stag: third >= STALL ? third & 0xffff : NO_STALL,
      write: (fourth & READ_NOT_WRITE) === 0,
      stage2: (fourth & STAGE_2) !== 0,
      iovaPage: (memory.readWord(ringPage, word + 4) >>> 12) + memory.readWord(ringPage, word + 5) * LOW_PAGES,
    };
    this.consumed += 1;
    const next = this.waiting.shift();
    if (next !== undefined) this.write(next);
    return event;
  }

  private write(event: SmmuEvent): void {
    const { memory, ringPage } = this;
    const word = (this.produced % RING_EVENTS) * EVENT_WORDS;
    const substream = event.substreamId === NO_SUBSTREAM ? 0 : SSV | (event.substreamId << 12);
    memory.writeWord(ringPage, word, (event.id | substream) >>> 0);
    memory.writeWord(ringPage, word + 1, event.streamId);
    memory.writeWord(ringPage, word + 2, event.stag === NO_STALL ? 0 : STALL + event.stag);
    memory.writeWord(ringPage, word + 3, (event.write ? 0 : READ_NOT_WRITE) | (event.stage2 ? STAGE_2 : 0));
    memory.writeWord(ringPage, word + 4, (event.iovaPage << 12) >>> 0);
    memory.writeWord(ringPage, word + 5, Math.floor(event.iovaPage / LOW_PAGES));
    this.produced += 1;
    if (this.produced - this.consumed === 1) this.onPending?.();
  }
}
