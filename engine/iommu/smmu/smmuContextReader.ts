/**
 * Stream table entry and context descriptor together, as the pipeline (iommu.ts) asks for a device's tables (Arm SMMUv3 specification
 * IHI 0070, 3.3): one stage of 4 KiB granules, without SubstreamIDs, which is what Linux gives a device for the DMA API. Its faults
 * are the pipeline's; the SMMU's own events, two stages, SubstreamIDs and stalls are in smmuTranslation.ts.
 */
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { FAULT_CONTEXT_NOT_PRESENT, FAULT_RESERVED_BITS, FAULT_ROOT_NOT_PRESENT, NO_FAULT } from '../faults.ts';
import { ARM_STAGE1_4K } from '../formats/armStage1.ts';
import type { DeviceContextReader } from '../vtd/contextTable.ts';
import { ContextDescriptorReader } from './contextDescriptor.ts';
import { C_BAD_STREAMID, NO_SUBSTREAM } from './smmuEvents.ts';
import { CONFIG_BYPASS, CONFIG_STAGE_1, LINUX_STREAM_TABLE, StreamTableReader } from './streamTable.ts';
import { levelsOfWidth } from './tableShape.ts';

const PAGE_BITS = 12;
const INDEX_BITS = 9;

export class SmmuContextReader implements DeviceContextReader {
  /** Level-1 descriptor, stream table entry, context descriptor. */
  readonly lookupReads = 3;
  domainId = 0;
  passthrough = false;
  tablePage = 0;
  levels = 0;
  fault = NO_FAULT;
  private readonly stream: StreamTableReader;
  private readonly context: ContextDescriptorReader;

  constructor(memory: PhysicalMemory) {
    this.stream = new StreamTableReader(memory, LINUX_STREAM_TABLE);
    this.context = new ContextDescriptorReader(memory);
  }

  read(tablePage: number, sourceId: number): boolean {
    const { stream, context } = this;
    if (!stream.read(tablePage, sourceId)) {
      return this.refuse(stream.event === C_BAD_STREAMID ? FAULT_ROOT_NOT_PRESENT : FAULT_CONTEXT_NOT_PRESENT);
    }
    this.passthrough = stream.config === CONFIG_BYPASS;
    this.fault = NO_FAULT;
    this.domainId = 0;
    if (this.passthrough) return true;
    if (stream.config !== CONFIG_STAGE_1 || !context.read(stream, NO_SUBSTREAM, null)) {
      return this.refuse(FAULT_CONTEXT_NOT_PRESENT);
    }
    this.passthrough = context.bypass;
    if (context.bypass) return true;
    this.levels = levelsOfWidth(context.addressBits, ARM_STAGE1_4K);
    const whole = PAGE_BITS + INDEX_BITS * this.levels === context.addressBits;
    if (!whole || context.granule !== 0 || !ARM_STAGE1_4K.levels.includes(this.levels))
      return this.refuse(FAULT_RESERVED_BITS);
    this.domainId = context.asid;
    this.tablePage = context.tablePage;
    return true;
  }

  private refuse(fault: number): false {
    this.fault = fault;
    return false;
  }
}
