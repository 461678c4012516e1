/**
 * What hardware of any vendor reads of a device, and of one of its processes, before it translates: whose its translations are, which page
 * tables they come from, one stage or two, and what it may do (VT-d specification 3.4; AMD specification 48882, 2.2.2; SMMUv3
 * specification IHI 0070, 3.3; RISC-V IOMMU specification 1.0, 2.1 and 2.2). Each vendor's reader is a subclass in its own folder.
 */
import type { PhysicalMemory } from '../memory/physicalMemory.ts';
import { NO_SPACE } from './caches/owner.ts';
import { NO_FAULT } from './faults.ts';
import { READ_WRITE, type PageTableFormat } from './formats/pageTableFormat.ts';
import type { AccessBits } from './walk/accessBits.ts';

/** Tables of one stage. */
export interface StageTables {
  readonly format: PageTableFormat;
  readonly accessBits: AccessBits;
  /** Of a first stage below a second one a guest's page. */
  readonly tablePage: number;
  readonly levels: number;
  /** One past the last page that the tables may be asked for; Infinity: what their levels reach. */
  readonly endPage: number;
}

export abstract class DeviceContextReader implements StageTables {
  /** Entries that the last `read` has read. */
  lookupReads = 0;
  /** Why it returned false. */
  fault = NO_FAULT;
  /** The rest is valid after it returned true. Whose the translations are, see caches/owner.ts. */
  domainId = 0;
  space = NO_SPACE;
  /** Bus addresses are physical ones, and there are no tables. */
  passthrough = false;
  /** READ and WRITE: what the device may do at all. */
  permissions = READ_WRITE;
  /** It may ask for translations and send translated requests. */
  atsEnabled = false;
  /** The tables that an address goes through first, and which stage's they are: where there are two, the first's. */
  stage: 1 | 2 = 2;
  format: PageTableFormat;
  accessBits: AccessBits = 'ignored';
  tablePage = 0;
  levels = 0;
  endPage = Infinity;
  /** The second stage below a first one; null: there is none. */
  second: StageTables | null = null;
  protected readonly memory: PhysicalMemory;

  constructor(memory: PhysicalMemory, format: PageTableFormat) {
    this.memory = memory;
    this.format = format;
  }

  /** `root`: the page that the hardware's base address register names. `pasid`: NO_PASID for a request without one. */
  abstract read(root: number, sourceId: number, pasid: number): boolean;

  protected refuse(fault: number): false {
    this.fault = fault;
    return false;
  }
}
