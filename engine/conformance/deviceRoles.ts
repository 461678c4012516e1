/**
 * Where a drive's queues lie on the bus, as its log shows it. The kernel allocated them before the trace began, so their
 * places are an input; what is inside them (which entry, which doorbell) is not. With shadow doorbells (NVM Express Base
 * Specification 2.0, 5.8, Doorbell Buffer Config) the driver writes tails and heads into a page of memory, and the drive writes
 * into a second page at which value it wants to be rung.
 * Leaves out: queues of another depth than Linux's default (drivers/nvme/host/pci.c `io_queue_depth`), the admin queue.
 */
import type { DeviceLogRecord, DeviceLookup } from '../formats/deviceLog.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';

export const QUEUE_ENTRIES = 1024;
const SUBMISSION_ENTRY_BYTES = 64;
const COMPLETION_ENTRY_BYTES = 16;
/** A submission queue's tail, then the completion queue's head. */
const DOORBELL_PAIR_BYTES = 8;
const DOORBELL_BYTES = 4;
/** Commands of each queue: where a log begins late, the first one may lack its beginning. */
const LEARNT_FROM = 8;

export type QueuePlaceKind = 'sqEntry' | 'cqEntry' | 'sqTail' | 'cqHead' | 'sqEvent' | 'cqEvent';

export interface QueuePlace {
  readonly kind: QueuePlaceKind;
  readonly queue: number;
  /** Of an entry; else 0. */
  readonly index: number;
}

const PLACE_NAMES = {
  sqEntry: 'submission queue',
  cqEntry: 'completion queue',
  sqTail: 'shadow doorbell of submission queue',
  cqHead: 'shadow doorbell of completion queue',
  sqEvent: 'event index of submission queue',
  cqEvent: 'event index of completion queue',
} as const satisfies Record<QueuePlaceKind, string>;

export function placeName({ kind, queue, index }: QueuePlace): string {
  const entry = kind === 'sqEntry' || kind === 'cqEntry' ? ` entry ${index}` : '';
  return `${PLACE_NAMES[kind]} ${queue}${entry}`;
}

/** A ring is allocated in one piece, aligned to its size. */
function ringBase(address: number, entryBytes: number): number {
  return address - (address % (QUEUE_ENTRIES * entryBytes));
}

function doorbellOffset(queue: number, completion: boolean): number {
  return queue * DOORBELL_PAIR_BYTES + (completion ? DOORBELL_BYTES : 0);
}

export class DeviceRoles {
  /** The drive's requester id; -1 when the log shows no translation for a command. */
  sourceId = -1;
  domainId = -1;
  readonly #submission = new Map<number, number>();
  readonly #completion = new Map<number, number>();
  #doorbellPage = -1;
  #eventPage = -1;

  get shadowDoorbells(): boolean {
    return this.#doorbellPage >= 0;
  }

  /** Null: no place of a queue. */
  placeOf(address: number): QueuePlace | null {
    const page = address - (address % PAGE_SIZE);
    if (page === this.#doorbellPage) return this.#doorbellPlace(address - page, 'sqTail', 'cqHead');
    if (page === this.#eventPage) return this.#doorbellPlace(address - page, 'sqEvent', 'cqEvent');
    return (
      ringPlace(this.#submission, address, 'sqEntry', SUBMISSION_ENTRY_BYTES) ??
      ringPlace(this.#completion, address, 'cqEntry', COMPLETION_ENTRY_BYTES)
    );
  }

  /** Whether an address lies among the doorbells, beyond the admin queue's, and is none. */
  besideDoorbells(address: number): boolean {
    const offset = address % PAGE_SIZE;
    const page = address - offset;
    const among = page === this.#doorbellPage || page === this.#eventPage;
    return among && offset >= DOORBELL_PAIR_BYTES && this.placeOf(address) === null;
  }

  /** Where the recorded machine has it; -1: the log never showed it. */
  addressOf({ kind, queue, index }: QueuePlace): number {
    switch (kind) {
      case 'sqEntry':
        return offsetFrom(this.#submission.get(queue), index * SUBMISSION_ENTRY_BYTES);
      case 'cqEntry':
        return offsetFrom(this.#completion.get(queue), index * COMPLETION_ENTRY_BYTES);
      case 'sqTail':
      case 'cqHead':
        return this.#doorbellPage < 0 ? -1 : this.#doorbellPage + doorbellOffset(queue, kind === 'cqHead');
      case 'sqEvent':
      case 'cqEvent':
        return this.#eventPage < 0 ? -1 : this.#eventPage + doorbellOffset(queue, kind === 'cqEvent');
    }
  }

  /** The first commands of each queue show where its rings are, and where the doorbells are. */
  learn(records: readonly DeviceLogRecord[]): void {
    const lookups = records.filter((record): record is DeviceLookup => record.event === 'lookup');
    const seen = new Map<number, number>();
    const firsts: { readonly queue: number; readonly index: number; readonly lookups: number }[] = [];
    let before = -1;
    for (const [index, record] of records.entries()) {
      if (record.event === 'lookup') before += 1;
      if (record.event !== 'command') continue;
      const { queue } = record;
      const count = (seen.get(queue) ?? 0) + 1;
      seen.set(queue, count);
      const entry = lookups[before];
      // Without a translation right before it the drive does not sit behind the IOMMU.
      if (count > LEARNT_FROM || entry === undefined || !precedes(records, index, entry)) continue;
      if (this.sourceId < 0) {
        this.sourceId = entry.sourceId;
        this.domainId = entry.domainId;
      }
      if (!this.#submission.has(queue)) {
        this.#submission.set(queue, ringBase(entry.iova, SUBMISSION_ENTRY_BYTES));
        firsts.push({ queue, index, lookups: before + 1 });
      }
      this.#learnDoorbells(queue, lookups, before);
    }
    for (const first of firsts) this.#learnCompletion(first.queue, lookups, first.lookups, records, first.index);
  }

  #learnDoorbells(queue: number, lookups: readonly DeviceLookup[], entry: number): void {
    if (this.#doorbellPage >= 0) return;
    const tail = lookups[entry - 1];
    const offset = doorbellOffset(queue, false);
    if (tail === undefined || tail.iova % PAGE_SIZE !== offset) return;
    const doorbellPage = tail.iova - offset;
    for (let index = entry + 1; index + 1 < lookups.length; index += 1) {
      const event = lookups[index]!.iova;
      if (lookups[index + 1]!.iova !== tail.iova || event % PAGE_SIZE !== offset || event === tail.iova) continue;
      this.#doorbellPage = doorbellPage;
      this.#eventPage = event - offset;
      return;
    }
  }

  #learnCompletion(
    queue: number,
    lookups: readonly DeviceLookup[],
    from: number,
    records: readonly DeviceLogRecord[],
    command: number,
  ): void {
    const head = this.addressOf({ kind: 'cqHead', queue, index: 0 });
    const event = this.addressOf({ kind: 'cqEvent', queue, index: 0 });
    if (head >= 0) {
      for (let index = from; index + 2 < lookups.length; index += 1) {
        if (lookups[index]!.iova !== event || lookups[index + 1]!.iova !== head) continue;
        this.#completion.set(queue, ringBase(lookups[index + 2]!.iova, COMPLETION_ENTRY_BYTES));
        return;
      }
      return;
    }
    const completed = records.findIndex((record, index) => index > command && record.event === 'complete');
    const entry = records.find(
      (record, index): record is DeviceLookup =>
        completed >= 0 && index > completed && record.event === 'lookup' && this.placeOf(record.iova) === null,
    );
    if (entry !== undefined) this.#completion.set(queue, ringBase(entry.iova, COMPLETION_ENTRY_BYTES));
  }

  #doorbellPlace(offset: number, sq: QueuePlaceKind, cq: QueuePlaceKind): QueuePlace | null {
    const queue = Math.floor(offset / DOORBELL_PAIR_BYTES);
    if (queue === 0 || offset % DOORBELL_BYTES !== 0) return null;
    return { kind: offset % DOORBELL_PAIR_BYTES === 0 ? sq : cq, queue, index: 0 };
  }
}

function ringPlace(
  rings: ReadonlyMap<number, number>,
  address: number,
  kind: QueuePlaceKind,
  entryBytes: number,
): QueuePlace | null {
  for (const [queue, base] of rings) {
    if (address < base || address >= base + QUEUE_ENTRIES * entryBytes || (address - base) % entryBytes !== 0) continue;
    return { kind, queue, index: (address - base) / entryBytes };
  }
  return null;
}

function offsetFrom(base: number | undefined, offset: number): number {
  return base === undefined ? -1 : base + offset;
}

function precedes(records: readonly DeviceLogRecord[], index: number, lookup: DeviceLookup): boolean {
  const before = records[index - 1];
  return before === lookup || (before?.event === 'translation' && records[index - 2] === lookup);
}
