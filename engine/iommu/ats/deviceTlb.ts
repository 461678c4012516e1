/**
 * A device's own translation cache (ATC; PCI Express Base Specification 10.2 and 10.3): finished translations by PASID and page, in one
 * array a size, filled by translation requests. Accesses that hit go out translated and skip the IOTLB. A lookup that finds a request of its page
 * under way waits for it. An answer without the wanted permission is never kept.
 * An invalidation drops what it covers at once and is complete when the accesses that used it are done; since an entry
 * may have given way to another one meanwhile, uses of entries that are gone count for every invalidation.
 * Leaves out: translations that a device asks for ahead of need beyond the entries of one request; privileged and execute requests.
 */
import { ATS_READ, ATS_WRITE, InvalidateRange, TranslationEntry } from '../../pcie/atsMessages.ts';
import { NO_PASID, type Translator } from '../../pcie/translator.ts';
import { picoseconds, type Picoseconds } from '../../time/picoseconds.ts';
import { AssociativeArray, NO_ENTRY } from '../caches/associativeArray.ts';
import { ATS_SUCCESS, type TranslationAgent } from './translationAgent.ts';

/** Tags: PASIDs from 1, no PASID 0, and entries of every PASID. */
const GLOBAL_TAG = 2 ** 21;

export interface DeviceTlbArray {
  /** Pages of one entry: a power of two. */
  readonly pages: number;
  readonly entries: number;
  readonly ways: number;
}

export interface DeviceTlbOptions {
  readonly sourceId: number;
  readonly agent: TranslationAgent;
  /** For pages that may be reached untranslated only. */
  readonly untranslated: Translator;
  /** By size; an answer is kept in the largest array that it fills. Each needs an array of single pages at the least. */
  readonly arrays: readonly DeviceTlbArray[];
  /** Entries that one translation request asks for. */
  readonly entriesPerRequest: number;
  readonly lookup: Picoseconds;
  /** From an access's translation until its last byte is done: what an invalidation waits for. */
  readonly useTime: Picoseconds;
  /** What the device takes for an invalidation by itself. */
  readonly invalidation: Picoseconds;
}

class SizedArray {
  readonly pages: number;
  readonly array: AssociativeArray;
  readonly targets: Float64Array;
  readonly permissions: Uint8Array;
  readonly untranslated: Uint8Array;
  readonly readyTimes: Float64Array;
  readonly usedUntil: Float64Array;

  constructor({ pages, entries, ways }: DeviceTlbArray) {
    this.pages = pages;
    this.array = new AssociativeArray(entries, ways);
    const { size } = this.array;
    this.targets = new Float64Array(size);
    this.permissions = new Uint8Array(size);
    this.untranslated = new Uint8Array(size);
    this.readyTimes = new Float64Array(size);
    this.usedUntil = new Float64Array(size);
  }
}

export class DeviceTlb implements Translator {
  readonly sourceId: number;
  physPage = 0;
  readyAt: Picoseconds = picoseconds(0);
  /** After a refusal: the status of the translation request; ATS_SUCCESS: the page may be asked for. */
  status = ATS_SUCCESS;
  hits = 0;
  misses = 0;
  /** Lookups that waited for a request under way. */
  merged = 0;
  invalidations = 0;
  private readonly options: DeviceTlbOptions;
  /** The smallest size first. */
  private readonly arrays: readonly SizedArray[];
  private readonly entry = new TranslationEntry();
  private readonly range = new InvalidateRange();
  private pasidTag = 0;
  /** Of the last `find`. */
  private found: SizedArray;
  private foundEntry = NO_ENTRY;
  /** Until when entries that are gone are in use. */
  private goneUntil = 0;

  constructor(options: DeviceTlbOptions) {
    this.options = options;
    this.sourceId = options.sourceId;
    this.arrays = options.arrays.map((array) => new SizedArray(array)).toSorted((a, b) => a.pages - b.pages);
    const smallest = this.arrays[0];
    if (smallest?.pages !== 1) throw new Error('a device TLB needs an array for single pages');
    this.found = smallest;
  }

  /** Entries held. */
  get held(): number {
    return this.arrays.reduce((sum, { array }) => sum + array.count, 0);
  }

  /** See Translator; requests without PASID. */
  translate(_sourceId: number, iovaPage: number, write: boolean, accesses: number, at: Picoseconds): boolean {
    return this.translateWithPasid(NO_PASID, iovaPage, write, accesses, at);
  }

  translateWithPasid(pasid: number, iovaPage: number, write: boolean, accesses: number, at: Picoseconds): boolean {
    const { options } = this;
    const wanted = write ? ATS_WRITE : ATS_READ;
    this.pasidTag = pasid + 1;
    const looked = at + options.lookup;
    if (this.find(iovaPage)) {
      const { found, foundEntry } = this;
      if ((found.permissions[foundEntry]! & wanted) !== 0) {
        this.hits += accesses;
        const ready = found.readyTimes[foundEntry]!;
        if (ready > looked) this.merged += 1;
        return this.use(found, foundEntry, iovaPage, write, accesses, Math.max(looked, ready));
      }
    }
    this.misses += 1;
    this.hits += accesses - 1;
    const { agent } = options;
    const { sourceId, entry } = this;
    const count = options.entriesPerRequest;
    const status = agent.request(sourceId, pasid, iovaPage, count, write, picoseconds(looked));
    this.status = status;
    this.readyAt = agent.readyAt;
    if (status !== ATS_SUCCESS) return false;
    // from the last to the first, so that what was asked for stays where the set is small
    for (let index = agent.entries - 1; index >= 0; index -= 1) {
      const page = this.pageOfAnswer(iovaPage, index);
      entry.decode(agent.words, index * 2);
      if (entry.permissions !== 0) this.fill(page, agent.readyAt);
    }
    entry.decode(agent.words, 0);
    if ((entry.permissions & wanted) === 0) return false;
    if (!this.find(iovaPage)) throw new Error('a device TLB lost the entry that it was just given');
    return this.use(this.found, this.foundEntry, iovaPage, write, accesses, agent.readyAt);
  }

  /** An invalidate request arrives at `at`, body in two words; returns when the device answers that it is complete. */
  invalidate(words: Uint32Array, wordAt: number, pasid: number, at: Picoseconds): Picoseconds {
    const { range } = this;
    range.decode(words, wordAt);
    this.invalidations += 1;
    const first = range.firstPage;
    const last = first + range.pages - 1;
    const tag = range.global ? NO_ENTRY : pasid + 1;
    let until = Math.max(at, this.goneUntil);
    for (const sized of this.arrays) {
      until = Math.max(
        until,
        this.dropFrom(sized, tag, Math.floor(first / sized.pages), Math.floor(last / sized.pages)),
      );
    }
    return picoseconds(until + this.options.invalidation);
  }

  /** For looking: whether an access of the page would be answered from here. */
  holds(pasid: number, iovaPage: number): boolean {
    this.pasidTag = pasid + 1;
    return this.find(iovaPage);
  }

  private use(
    sized: SizedArray,
    entry: number,
    iovaPage: number,
    write: boolean,
    accesses: number,
    ready: number,
  ): boolean {
    this.status = ATS_SUCCESS;
    if (sized.untranslated[entry] === 1) {
      const { untranslated } = this.options;
      const allowed = untranslated.translate(this.sourceId, iovaPage, write, accesses, picoseconds(ready));
      this.physPage = untranslated.physPage;
      this.readyAt = untranslated.readyAt;
      return allowed;
    }
    this.physPage = sized.targets[entry]! + (iovaPage % sized.pages);
    this.readyAt = picoseconds(ready);
    sized.usedUntil[entry] = Math.max(sized.usedUntil[entry]!, ready + this.options.useTime);
    return true;
  }

  private find(iovaPage: number): boolean {
    for (const sized of this.arrays) {
      if (sized.array.count === 0) continue;
      const tag = Math.floor(iovaPage / sized.pages);
      let entry = sized.array.find(this.pasidTag, tag);
      if (entry === NO_ENTRY) entry = sized.array.find(GLOBAL_TAG, tag);
      if (entry === NO_ENTRY) continue;
      this.found = sized;
      this.foundEntry = entry;
      return true;
    }
    return false;
  }

  /** The first page that an entry of the answer stands for: entries follow each other. */
  private pageOfAnswer(iovaPage: number, index: number): number {
    const { entry, options } = this;
    let page = iovaPage;
    for (let before = 0; before < index; before += 1) {
      entry.decode(options.agent.words, before * 2);
      page += entry.pages - (page % entry.pages);
    }
    return page;
  }

  private fill(iovaPage: number, readyAt: number): void {
    const { entry } = this;
    let sized = this.arrays[0]!;
    for (const larger of this.arrays) if (larger.pages <= entry.pages && larger.array.size > 0) sized = larger;
    const tag = Math.floor(iovaPage / sized.pages);
    const slot = sized.array.fill(entry.global ? GLOBAL_TAG : this.pasidTag, tag);
    if (slot === NO_ENTRY) return;
    this.goneUntil = Math.max(this.goneUntil, sized.usedUntil[slot]!);
    sized.targets[slot] = entry.page + ((tag * sized.pages) % entry.pages);
    sized.permissions[slot] = entry.permissions;
    sized.untranslated[slot] = entry.untranslatedOnly ? 1 : 0;
    sized.readyTimes[slot] = readyAt;
    sized.usedUntil[slot] = 0;
  }

  /** Returns until when what was dropped is in use. Entries of every PASID go with any of them. */
  private dropFrom(sized: SizedArray, pasidTag: number, first: number, last: number): number {
    const { array } = sized;
    let until = 0;
    for (let entry = 0; entry < array.size; entry += 1) {
      const owner = array.ownerAt(entry);
      const tag = array.tagAt(entry);
      if (owner === NO_ENTRY || tag < first || tag > last) continue;
      if (pasidTag !== NO_ENTRY && owner !== pasidTag && owner !== GLOBAL_TAG) continue;
      until = Math.max(until, sized.usedUntil[entry]!);
    }
    array.drop(pasidTag, first, last);
    if (pasidTag !== NO_ENTRY) array.drop(GLOBAL_TAG, first, last);
    return until;
  }
}
