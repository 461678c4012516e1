/**
 * The IOMMU's queue of page requests: records in a ring in memory, which software takes and answers group by group (VT-d specification
 * 7.4.1, page request descriptor; RISC-V IOMMU specification 1.0, 4.3, page-request record).
 *
 * VT-d, 32 bytes: 7:0 type (1), 8 PASID present, 31:16 requester id, 51:32 PASID; second quarter: 0 read, 1 write, 2 last in group,
 * 11:3 group index, 63:12 address; the second half is private data.
 * RISC-V, 16 bytes: 31:12 PASID, 32 PV, 63:40 device id; second half: 0 R, 1 W, 2 L, 11:3 group index, 63:12 address.
 *
 * Where the ring is full the overflow bit is set (PRO, pqof), and until software clears it requests are dropped; of a group whose last
 * request is dropped the hardware answers success itself, so that the device looks again and asks anew.
 * Leaves out: private data, privileged and execute requests, Arm's record.
 */
import type { FrameAllocator } from '../../memory/frameAllocator.ts';
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { encodeGroupResponse, PageRequest, RESPONSE_INVALID, RESPONSE_SUCCESS } from '../../pcie/atsMessages.ts';
import type { PageRequestInterface, PageRequestTarget } from '../../pcie/pageRequestInterface.ts';
import { NO_PASID } from '../../pcie/translator.ts';
import type { EventQueue } from '../../time/eventQueue.ts';
import type { Picoseconds } from '../../time/picoseconds.ts';

export type PageRequestLayout = 'vtd' | 'riscv';

const RECORD_WORDS = { vtd: 8, riscv: 4 } as const;
const WORDS_PER_PAGE = 1024;
const VTD_TYPE_PAGE_REQUEST = 1;
const VTD_PASID_PRESENT = 1 << 8;
const RISCV_PASID_VALID = 1;
const PASID_MASK = 0xf_ffff;

export interface PageRequestRecord {
  readonly sourceId: number;
  /** NO_PASID where the request had none. */
  readonly pasid: number;
  readonly page: number;
  /** ATS_READ, ATS_WRITE. */
  readonly access: number;
  readonly group: number;
  readonly last: boolean;
}

export interface PageRequestQueueOptions {
  readonly memory: PhysicalMemory;
  readonly frames: FrameAllocator;
  readonly events: EventQueue;
  readonly layout: PageRequestLayout;
  /** Records of the ring, one of which stays free: a power of two that fills whole pages. */
  readonly records: number;
}

export class PageRequestQueue implements PageRequestTarget {
  readonly ringPage: number;
  /** PRO or pqof; requests are dropped until `clearOverflow`. */
  overflow = false;
  /** Requests dropped, and groups that the hardware answered itself. */
  dropped = 0;
  answeredByHardware = 0;
  /** Raised when a record is written to a queue whose last interrupt was served. */
  onPending: (() => void) | null = null;
  private readonly options: PageRequestQueueOptions;
  private readonly devices = new Map<number, PageRequestInterface>();
  private readonly enabled = new Set<number>();
  private readonly request = new PageRequest();
  private readonly words = new Uint32Array(2);
  private head = 0;
  private tail = 0;
  private signalled = false;

  constructor(options: PageRequestQueueOptions) {
    this.options = options;
    const pages = Math.ceil((options.records * RECORD_WORDS[options.layout]) / WORDS_PER_PAGE);
    this.ringPage = options.frames.allocateContiguous(pages);
  }

  /** A device below the root complex; its page requests are invalid until they are enabled. */
  connect(device: PageRequestInterface): void {
    this.devices.set(device.sourceId, device);
  }

  enable(sourceId: number): void {
    this.enabled.add(sourceId);
  }

  disable(sourceId: number): void {
    this.enabled.delete(sourceId);
  }

  get pending(): number {
    const { records } = this.options;
    return (this.tail - this.head + records) % records;
  }

  pageRequest(sourceId: number, pasid: number, words: Uint32Array): void {
    const { request } = this;
    request.decode(words, 0);
    if (!this.enabled.has(sourceId)) {
      this.drop(sourceId, RESPONSE_INVALID);
      return;
    }
    if (this.overflow || this.pending === this.options.records - 1) {
      this.overflow = true;
      this.drop(sourceId, RESPONSE_SUCCESS);
      return;
    }
    this.write(sourceId, pasid, words);
    this.tail = (this.tail + 1) % this.options.records;
    if (this.signalled) return;
    this.signalled = true;
    this.onPending?.();
  }

  /** Software takes the oldest record out of the ring; null where there is none, and the next one interrupts again. */
  take(): PageRequestRecord | null {
    if (this.head === this.tail) {
      this.signalled = false;
      return null;
    }
    const record = this.read();
    this.head = (this.head + 1) % this.options.records;
    return record;
  }

  clearOverflow(): void {
    this.overflow = false;
  }

  /** Software answers a group; the response leaves at `at`. */
  respond(sourceId: number, group: number, code: number, at: Picoseconds): void {
    this.devices.get(sourceId)?.respond(encodeGroupResponse(group, code), at);
  }

  /** The request decoded last goes nowhere; the last one of its group is answered. */
  private drop(sourceId: number, code: number): void {
    const { last, group } = this.request;
    this.dropped += 1;
    if (!last) return;
    this.answeredByHardware += 1;
    this.respond(sourceId, group, code, this.options.events.now);
  }

  private write(sourceId: number, pasid: number, words: Uint32Array): void {
    const { memory, layout } = this.options;
    const valid = pasid !== NO_PASID;
    const tag = valid ? pasid : 0;
    if (layout === 'vtd') {
      const first = VTD_TYPE_PAGE_REQUEST | (valid ? VTD_PASID_PRESENT : 0) | (sourceId << 16);
      this.put(memory, [first >>> 0, tag, words[0]!, words[1]!, 0, 0, 0, 0]);
      return;
    }
    const second = (valid ? RISCV_PASID_VALID : 0) | (sourceId << 8);
    this.put(memory, [(tag << 12) >>> 0, second >>> 0, words[0]!, words[1]!]);
  }

  private put(memory: PhysicalMemory, record: readonly number[]): void {
    const at = this.tail * record.length;
    const page = this.ringPage + Math.floor(at / WORDS_PER_PAGE);
    for (const [index, word] of record.entries()) memory.writeWord(page, (at % WORDS_PER_PAGE) + index, word);
  }

  private read(): PageRequestRecord {
    const { memory, layout } = this.options;
    const at = this.head * RECORD_WORDS[layout];
    const page = this.ringPage + Math.floor(at / WORDS_PER_PAGE);
    const word = (index: number): number => memory.readWord(page, (at % WORDS_PER_PAGE) + index);
    const { request, words } = this;
    words[0] = word(2);
    words[1] = word(3);
    request.decode(words, 0);
    const valid = layout === 'vtd' ? (word(0) & VTD_PASID_PRESENT) !== 0 : (word(1) & RISCV_PASID_VALID) !== 0;
    const tag = layout === 'vtd' ? word(1) & PASID_MASK : word(0) >>> 12;
    const sourceId = layout === 'vtd' ? word(0) >>> 16 : word(1) >>> 8;
    const { page: iovaPage, access, group, last } = request;
    return { sourceId, pasid: valid ? tag : NO_PASID, page: iovaPage, access, group, last };
  }
}
