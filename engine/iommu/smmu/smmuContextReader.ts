/**
 * Stream table entry and context descriptor together, as the pipeline (iommu.ts) asks for a device's tables (Arm SMMUv3 specification
 * IHI 0070, 3.3): stage 1, stage 2 or both, with a SubstreamID or without. Its faults are the events of 7.3; stalls are in
 * smmuTranslation.ts.
 */
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { NO_PASID } from '../../pcie/translator.ts';
import { NO_SPACE } from '../caches/owner.ts';
import { DeviceContextReader, type StageTables } from '../deviceContext.ts';
import { FAULT_CONTEXT_NOT_PRESENT, NO_FAULT, OWN_FAULT } from '../faults.ts';
import { ARM_STAGE1_4K } from '../formats/armStage1.ts';
import type { PageTableFormat } from '../formats/pageTableFormat.ts';
import { Walker } from '../walk/walker.ts';
import { ContextDescriptorReader } from './contextDescriptor.ts';
import { C_BAD_CD, C_BAD_STE, C_BAD_SUBSTREAMID, NO_SUBSTREAM } from './smmuEvents.ts';
import { CONFIG_ABORT, CONFIG_BYPASS, LINUX_STREAM_TABLE, StreamTableReader } from './streamTable.ts';
import { levelsOfStart, levelsOfWidth, STAGE1_FORMATS, STAGE2_FORMATS } from './tableShape.ts';

const PAGE_BITS = 12;
const NO_DOMAIN = 0;

export class SmmuContextReader extends DeviceContextReader {
  private readonly stream: StreamTableReader;
  private readonly descriptor: ContextDescriptorReader;
  private readonly secondWalkers = new Map<PageTableFormat, Walker>();

  constructor(memory: PhysicalMemory) {
    super(memory, ARM_STAGE1_4K);
    this.stream = new StreamTableReader(memory, LINUX_STREAM_TABLE);
    this.descriptor = new ContextDescriptorReader(memory);
  }

  read(tablePage: number, sourceId: number, pasid: number): boolean {
    const { stream, descriptor } = this;
    const known = stream.read(tablePage, sourceId);
    this.lookupReads = stream.reads;
    if (!known) return this.refuse(OWN_FAULT + stream.event);
    if (stream.config === CONFIG_ABORT) return this.refuse(FAULT_CONTEXT_NOT_PRESENT);
    this.fault = NO_FAULT;
    this.atsEnabled = stream.atsEnabled;
    this.domainId = NO_DOMAIN;
    this.space = NO_SPACE;
    this.second = null;
    this.passthrough = stream.config === CONFIG_BYPASS;
    if (this.passthrough) return pasid === NO_PASID ? true : this.refuse(OWN_FAULT + C_BAD_SUBSTREAMID);
    this.domainId = stream.vmid;
    const second = stream.hasStage2 ? this.stageTwo() : null;
    if (stream.hasStage2 && second === null) return this.refuse(OWN_FAULT + C_BAD_STE);
    if (!stream.hasStage1)
      return pasid === NO_PASID ? this.onlyStageTwo(second) : this.refuse(OWN_FAULT + C_BAD_SUBSTREAMID);
    const guest = second === null ? null : (page: number): number => this.throughStageTwo(second, page);
    const described = descriptor.read(stream, pasid === NO_PASID ? NO_SUBSTREAM : pasid, guest);
    this.lookupReads += descriptor.reads;
    if (!described) return this.refuse(OWN_FAULT + descriptor.event);
    return descriptor.bypass ? this.onlyStageTwo(second) : this.stageOne(second);
  }

  private stageOne(second: StageTables | null): boolean {
    const { descriptor } = this;
    this.stage = 1;
    this.format = STAGE1_FORMATS[descriptor.granule]!;
    this.levels = levelsOfWidth(descriptor.addressBits, this.format);
    if (!this.format.levels.includes(this.levels)) return this.refuse(OWN_FAULT + C_BAD_CD);
    this.space = descriptor.asid;
    this.accessBits = descriptor.setsAccessFlag ? 'updated' : 'checked';
    this.tablePage = descriptor.tablePage;
    this.endPage = 2 ** (descriptor.addressBits - PAGE_BITS);
    this.second = second;
    return true;
  }

  /** Stage 1 is passed by, as stage 2 is where there is none. */
  private onlyStageTwo(second: StageTables | null): boolean {
    this.passthrough = second === null;
    if (second === null) return true;
    this.stage = 2;
    this.format = second.format;
    this.accessBits = second.accessBits;
    this.tablePage = second.tablePage;
    this.levels = second.levels;
    this.endPage = second.endPage;
    return true;
  }

  /** Null where the entry describes tables that there are not. */
  private stageTwo(): StageTables | null {
    const { stream } = this;
    const format = STAGE2_FORMATS[stream.secondGranule]!;
    const levels = levelsOfStart(stream.secondStart, format);
    if (!format.levels.includes(levels)) return null;
    return {
      format,
      accessBits: stream.secondSetsAccessFlag ? 'updated' : 'checked',
      tablePage: stream.secondTablePage,
      levels,
      endPage: 2 ** (stream.secondAddressBits - PAGE_BITS),
    };
  }

  /** The memory behind a page of the tables that lead to the descriptor; -1 where stage 2 has none. */
  private throughStageTwo({ format, accessBits, tablePage, levels, endPage }: StageTables, page: number): number {
    let walker = this.secondWalkers.get(format);
    if (walker === undefined) {
      walker = new Walker(this.memory, format);
      this.secondWalkers.set(format, walker);
    }
    walker.accessBits = accessBits;
    const found = page < endPage && walker.walkFromRoot(NO_DOMAIN, page, false, tablePage, levels);
    this.lookupReads += walker.reads;
    return found ? walker.physPage(page) : -1;
  }
}
