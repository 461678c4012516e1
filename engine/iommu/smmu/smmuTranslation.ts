/**
 * What an SMMUv3 makes of one transaction, from StreamID and SubstreamID to a page of memory, without caches and time: stream table
 * entry, context descriptor, stage 1, stage 2 or both, and the event where one of them refuses (Arm SMMUv3 specification IHI 0070, 3.3,
 * 3.12, 7.3). A fault of a context that stalls holds the transaction (stalledTransactions.ts).
 * Leaves out: HA without HD, stage 1 leaves that forbid unprivileged access, which count as absent, merged events.
 */
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { FAULT_ADDRESS_BEYOND_WIDTH, FAULT_RESERVED_BITS } from '../faults.ts';
import { addressPage, READ, READ_WRITE, WRITE, type PageTableFormat } from '../formats/pageTableFormat.ts';
import { NestedWalker } from '../walk/nestedWalker.ts';
import type { AccessBits } from '../walk/accessBits.ts';
import { Walker } from '../walk/walker.ts';
import { ContextDescriptorReader } from './contextDescriptor.ts';
import {
  C_BAD_CD,
  C_BAD_STE,
  F_ACCESS,
  F_ADDR_SIZE,
  F_PERMISSION,
  F_TRANSLATION,
  F_WALK_EABT,
  NO_STALL,
  type SmmuEventQueue,
} from './smmuEvents.ts';
import type { StallEnd, StalledTransactions } from './stalledTransactions.ts';
import { CONFIG_ABORT, CONFIG_BYPASS, StreamTableReader, type StreamTableLayout } from './streamTable.ts';
import { levelsOfStart, levelsOfWidth, STAGE1_FORMATS, STAGE2_FORMATS } from './tableShape.ts';

export type SmmuOutcome = 'translated' | 'faulted' | 'stalled';

const NO_EVENT = 0;
/** Beside an event: stage 2 refused. */
const STAGE_2 = 0x100;
const EVENT_MASK = 0xff;
const DOMAIN = 0;
const PAGE_BITS = 12;
/** Bits 47:32 of an address in the high word of an entry. */
const ADDRESS_HIGH = 0xffff;
const WHOLE_SPACE = Infinity;

export interface SmmuTranslationOptions {
  readonly memory: PhysicalMemory;
  readonly layout: StreamTableLayout;
  readonly events: SmmuEventQueue;
  readonly stalls: StalledTransactions;
  /** IDR5.OAS: bits of an address that the SMMU puts out; default 48. */
  readonly outputBits?: number;
}

export class SmmuTranslation {
  /** Of the last transaction: the page, how many pages around it the answer covers, what is allowed, and its tags. */
  physPage = 0;
  pages = 1;
  permissions = 0;
  vmid = 0;
  asid = 0;
  /** The event, 0 where there is none, whether stage 2 refused, and the stalled transaction's name. */
  event = NO_EVENT;
  stage2 = false;
  stag = NO_STALL;
  private readonly options: SmmuTranslationOptions;
  private readonly stream: StreamTableReader;
  private readonly context: ContextDescriptorReader;
  private readonly walkers = new Map<string, Walker>();
  private readonly outputBits: number;
  private tablePage = -1;

  constructor(options: SmmuTranslationOptions) {
    this.options = options;
    this.stream = new StreamTableReader(options.memory, options.layout);
    this.context = new ContextDescriptorReader(options.memory);
    this.outputBits = options.outputBits ?? 48;
  }

  /** STRTAB_BASE. */
  setStreamTable(page: number): void {
    this.tablePage = page;
  }

  /** `substreamId` NO_SUBSTREAM: none. `ended` is told once if the transaction stalls. */
  translate(
    streamId: number,
    substreamId: number,
    iovaPage: number,
    write: boolean,
    ended: (end: StallEnd) => void,
  ): SmmuOutcome {
    const { stream, context } = this;
    this.event = NO_EVENT;
    this.stage2 = false;
    this.stag = NO_STALL;
    this.vmid = 0;
    this.asid = 0;
    if (!stream.read(this.tablePage, streamId))
      return this.refuse(streamId, substreamId, iovaPage, write, stream.event);
    if (stream.config === CONFIG_ABORT) return 'faulted';
    if (stream.config === CONFIG_BYPASS) return this.pass(iovaPage);
    this.vmid = stream.vmid;
    const second = stream.hasStage2 ? this.stageTwo() : null;
    if (stream.hasStage2 && second === null) return this.refuse(streamId, substreamId, iovaPage, write, C_BAD_STE);
    let stalls = stream.secondStalls;
    if (stream.hasStage1) {
      const guest = second === null ? null : (page: number): number => this.throughStageTwo(second, page);
      if (!context.read(stream, substreamId, guest)) {
        this.stage2 = context.stage2;
        if (!context.stage2 || !stalls) return this.refuse(streamId, substreamId, iovaPage, write, context.event);
        return this.hold(streamId, substreamId, iovaPage, write, context.event, ended);
      }
      if (stream.stallDisabled && context.stalls && !context.bypass) {
        return this.refuse(streamId, substreamId, iovaPage, write, C_BAD_CD);
      }
    }
    const code = this.walk(iovaPage, write, second);
    if (code === NO_EVENT) return 'translated';
    const event = code & EVENT_MASK;
    if (event === C_BAD_CD) return this.refuse(streamId, substreamId, iovaPage, write, event);
    const stage2 = code !== event;
    this.stage2 = stage2;
    if (!stage2) stalls = context.stalls;
    if (stalls && event !== F_WALK_EABT) return this.hold(streamId, substreamId, iovaPage, write, event, ended);
    if (!stage2 && !context.recordsFaults) {
      this.event = event;
      return 'faulted';
    }
    return this.refuse(streamId, substreamId, iovaPage, write, event);
  }

  private pass(page: number): 'translated' {
    this.physPage = page;
    this.pages = WHOLE_SPACE;
    this.permissions = READ_WRITE;
    return 'translated';
  }

  /** The event of the walks that the entry and the descriptor ask for, and whose it is; NO_EVENT where the transaction may go on. */
  private walk(iovaPage: number, write: boolean, second: Walker | null): number {
    const { stream, context } = this;
    const secondLevels = second === null ? 0 : levelsOfStart(stream.secondStart, second.format);
    if (!stream.hasStage1 || context.bypass) {
      if (second === null) {
        this.pass(iovaPage);
        return NO_EVENT;
      }
      if (iovaPage >= 2 ** (stream.secondAddressBits - PAGE_BITS)) return F_TRANSLATION | STAGE_2;
      const found = second.walkFromRoot(DOMAIN, iovaPage, write, stream.secondTablePage, secondLevels);
      return this.outcome(second, found, iovaPage, write, second.permissions, STAGE_2);
    }
    this.asid = context.asid;
    const format = STAGE1_FORMATS[context.granule]!;
    const levels = levelsOfWidth(context.addressBits, format);
    if (!format.levels.includes(levels)) return C_BAD_CD;
    if (iovaPage >= 2 ** (context.addressBits - PAGE_BITS)) return F_TRANSLATION;
    const accessBits: AccessBits = context.setsAccessFlag ? 'updated' : 'checked';
    if (second === null) {
      const walker = this.walkerOf(
        `1 ${format.name}`,
        () => new Walker(this.options.memory, format, 'checked', this.outputBits),
      );
      walker.accessBits = accessBits;
      const found = walker.walkFromRoot(DOMAIN, iovaPage, write, context.tablePage, levels);
      return this.outcome(walker, found, iovaPage, write, walker.permissions, 0);
    }
    const nested = this.nestedWalker(format, second.format);
    nested.accessBits = accessBits;
    nested.setSecondStage(stream.secondTablePage, secondLevels, 2 ** (stream.secondAddressBits - PAGE_BITS));
    const found = nested.walkFromRoot(DOMAIN, iovaPage, write, context.tablePage, levels);
    const ofSecond = nested.faultStage === 2;
    return this.outcome(nested, found, iovaPage, write, nested.refusedPermissions, ofSecond ? STAGE_2 : 0);
  }

  private outcome(
    walker: Walker,
    found: boolean,
    iovaPage: number,
    write: boolean,
    permissions: number,
    stage: number,
  ): number {
    if (found) {
      this.physPage = walker.physPage(iovaPage);
      this.pages = walker.coveredPages;
      this.permissions = walker.permissions;
      return NO_EVENT;
    }
    if (walker.reads > 0 && walker.readTables[walker.reads - 1]! >= this.options.memory.pages)
      return F_WALK_EABT | stage;
    if (walker.fault === FAULT_RESERVED_BITS) return (this.beyondOutput(walker) ? F_ADDR_SIZE : F_TRANSLATION) | stage;
    if (permissions === 0 || walker.fault === FAULT_ADDRESS_BEYOND_WIDTH) return F_TRANSLATION | stage;
    return ((permissions & (write ? WRITE : READ)) === 0 ? F_PERMISSION : F_ACCESS) | stage;
  }

  /** Whether the entry that was read last names a page that the SMMU cannot put out. */
  private beyondOutput(walker: Walker): boolean {
    const { memory } = this.options;
    const page = walker.readTables[walker.reads - 1]!;
    const word = walker.readIndexes[walker.reads - 1]! * 2;
    const target = addressPage(memory.readWord(page, word), memory.readWord(page, word + 1) & ADDRESS_HIGH);
    return target >= 2 ** (this.outputBits - PAGE_BITS);
  }

  private throughStageTwo(second: Walker, page: number): number {
    const { stream } = this;
    const levels = levelsOfStart(stream.secondStart, second.format);
    if (page >= 2 ** (stream.secondAddressBits - PAGE_BITS)) return -1;
    return second.walkFromRoot(DOMAIN, page, false, stream.secondTablePage, levels) ? second.physPage(page) : -1;
  }

  /** Null where the entry describes tables that there are not. */
  private stageTwo(): Walker | null {
    const { stream } = this;
    const format = STAGE2_FORMATS[stream.secondGranule]!;
    if (!format.levels.includes(levelsOfStart(stream.secondStart, format))) return null;
    const walker = this.walkerOf(
      `2 ${format.name}`,
      () => new Walker(this.options.memory, format, 'checked', this.outputBits),
    );
    walker.accessBits = stream.secondSetsAccessFlag ? 'updated' : 'checked';
    return walker;
  }

  private nestedWalker(first: PageTableFormat, second: PageTableFormat): NestedWalker {
    const { memory } = this.options;
    const updates: AccessBits = this.stream.secondSetsAccessFlag ? 'updated' : 'checked';
    const name = `${first.name} ${second.name} ${updates}`;
    const walker = this.walkerOf(
      name,
      () => new NestedWalker(memory, first, second, 'checked', updates, this.outputBits),
    );
    if (!(walker instanceof NestedWalker)) throw new Error(`${name} is no nested walker`);
    return walker;
  }

  private walkerOf(name: string, make: () => Walker): Walker {
    let walker = this.walkers.get(name);
    if (walker === undefined) {
      walker = make();
      this.walkers.set(name, walker);
    }
    return walker;
  }

  private refuse(streamId: number, substreamId: number, iovaPage: number, write: boolean, id: number): 'faulted' {
    this.event = id;
    const { stage2 } = this;
    this.options.events.add({ id, streamId, substreamId, stag: NO_STALL, write, stage2, iovaPage });
    return 'faulted';
  }

  private hold(
    streamId: number,
    substreamId: number,
    iovaPage: number,
    write: boolean,
    event: number,
    ended: (end: StallEnd) => void,
  ): 'stalled' {
    this.event = event;
    const { stage2 } = this;
    this.stag = this.options.stalls.hold({ streamId, substreamId, iovaPage, write, stage2, event, ended });
    return 'stalled';
  }
}
