import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { InvalidateRange, PageRequest, TranslationEntry } from '../../pcie/atsMessages.ts';
import { Link } from '../../pcie/link.ts';
import { Way } from '../../pcie/way.ts';
import { NO_PASID, type AtsTranslator, type Translator } from '../../pcie/translator.ts';
import { nanoseconds, picoseconds, type Picoseconds } from '../../time/picoseconds.ts';
import { FAULT_READ_NOT_ALLOWED } from '../faults.ts';
import { DeviceTlb, type DeviceTlbArray } from './deviceTlb.ts';
import {
  answerOfFaultReason,
  answerOfRiscvCause,
  ATS_COMPLETER_ABORT,
  ATS_SUCCESS,
  ATS_UNSUPPORTED_REQUEST,
  TranslationAgent,
} from './translationAgent.ts';

const NONE = nanoseconds(0);
const BROKEN = 0x99;

/** An IOMMU that is a list: by PASID and page a translation, which takes no time. */
class ListedTranslations implements AtsTranslator, Translator {
  atsEnabled = true;
  readonly listed = new Map<string, { phys: number; pages: number; permissions: number }>();
  physPage = 0;
  sizePages = 1;
  permissions = 0;
  fault = 0;
  readyAt: Picoseconds = NONE;
  untranslated = 0;

  set(pasid: number, page: number, phys: number, pages: number, permissions: number): void {
    for (let index = 0; index < pages; index += 1) {
      this.listed.set(`${String(pasid)}/${String(page + index)}`, { phys: phys + index, pages, permissions });
    }
  }

  translationRequest(_sourceId: number, pasid: number, iovaPage: number, _write: boolean, at: Picoseconds): boolean {
    this.readyAt = at;
    const found = this.listed.get(`${String(pasid)}/${String(iovaPage)}`);
    this.fault = found === undefined ? FAULT_READ_NOT_ALLOWED : BROKEN;
    if (found === undefined || found.permissions === 0) return false;
    this.physPage = found.phys;
    this.sizePages = found.pages;
    this.permissions = found.permissions;
    return true;
  }

  translate(_sourceId: number, iovaPage: number, _write: boolean, _accesses: number, at: Picoseconds): boolean {
    this.untranslated += 1;
    this.physPage = iovaPage;
    this.readyAt = at;
    return true;
  }
}

const SINGLE: readonly DeviceTlbArray[] = [{ pages: 1, entries: 8, ways: 2 }];
const BOTH: readonly DeviceTlbArray[] = [...SINGLE, { pages: 512, entries: 2, ways: 2 }];

function cacheOver(
  iommu: ListedTranslations,
  options: { arrays?: readonly DeviceTlbArray[]; entriesPerRequest?: number; useTime?: number } = {},
): { tlb: DeviceTlb; agent: TranslationAgent } {
  const way = new Way(
    new Link({
      generation: 3,
      lanes: 8,
      maxPayloadSize: 256,
      maxReadRequestSize: 512,
      propagation: nanoseconds(120),
    }),
  );
  const agent = new TranslationAgent({
    translator: iommu,
    way,
    rootComplex: nanoseconds(90),
    answerOf: answerOfFaultReason,
  });
  const tlb = new DeviceTlb({
    sourceId: 0x100,
    agent,
    untranslated: iommu,
    arrays: options.arrays ?? SINGLE,
    entriesPerRequest: options.entriesPerRequest ?? 1,
    lookup: nanoseconds(5),
    useTime: picoseconds(options.useTime ?? 0),
    invalidation: nanoseconds(50),
  });
  return { tlb, agent };
}

function invalidate(tlb: DeviceTlb, firstPage: number, pages: number, pasid = NO_PASID, global = false, at = NONE) {
  const range = new InvalidateRange();
  range.firstPage = firstPage;
  range.pages = pages;
  range.global = global;
  const words = new Uint32Array(2);
  range.encode(words, 0);
  return tlb.invalidate(words, 0, pasid, at);
}

describe('messages (PCI Express 10.2.3, 10.3.2, 10.4.1)', () => {
  test('a 4 KiB entry has its address, R and W', () => {
    const entry = new TranslationEntry();
    entry.page = 0x1234_5678_9;
    entry.permissions = 3;
    const words = new Uint32Array(2);
    entry.encode(words, 0);
    expect([...words]).toEqual([0x5678_9003, 0x1234]);
  });

  test('a size is the lowest clear bit from bit 12 up: 8 KiB, 2 MiB', () => {
    const entry = new TranslationEntry();
    const words = new Uint32Array(2);
    entry.permissions = 1;
    entry.pages = 2;
    entry.page = 0x40;
    entry.encode(words, 0);
    expect(words[0]).toBe(0x0004_0801);
    entry.pages = 512;
    entry.page = 0x600;
    entry.encode(words, 0);
    // bits 19:12 set, bit 20 clear
    expect(words[0]).toBe(0x006f_f801);
  });

  test('flags stand at N 10, Global 5, Priv 4, Exe 3, U 2', () => {
    const entry = new TranslationEntry();
    const words = new Uint32Array(2);
    entry.noSnoop = true;
    entry.global = true;
    entry.privileged = true;
    entry.execute = true;
    entry.untranslatedOnly = true;
    entry.encode(words, 0);
    expect(words[0]).toBe(0x43c);
  });

  test('what is encoded is decoded, for every size up to all pages', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 51 }),
        fc.integer({ min: 0, max: 2 ** 40 }),
        fc.nat(3),
        (order, base, bits) => {
          const pages = 2 ** order;
          const page = Math.floor(base / pages) * pages;
          const words = new Uint32Array(2);
          const entry = new TranslationEntry();
          Object.assign(entry, { page, pages, permissions: bits });
          entry.encode(words, 0);
          const back = new TranslationEntry();
          back.decode(words, 0);
          expect(back).toEqual(entry);
          const range = new InvalidateRange();
          Object.assign(range, { firstPage: page, pages, global: bits === 1 });
          range.encode(words, 0);
          const rangeBack = new InvalidateRange();
          rangeBack.decode(words, 0);
          expect(rangeBack).toEqual(range);
        },
      ),
      { seed: 1 },
    );
  });

  test('a page request: address, group index 11:3, L, W, R', () => {
    const request = new PageRequest();
    Object.assign(request, { page: 0x12345, access: 3, group: 0x1ab, last: true });
    const words = new Uint32Array(2);
    request.encode(words, 0);
    expect(words[0]).toBe((0x1234_5000 | (0x1ab << 3) | 7) >>> 0);
    const back = new PageRequest();
    back.decode(words, 0);
    expect(back).toEqual(request);
  });
});

describe('answers to translation requests (RISC-V IOMMU 1.0, 3.6)', () => {
  test.each([
    [13, ATS_SUCCESS],
    [21, ATS_SUCCESS],
    [266, ATS_SUCCESS],
    [256, ATS_UNSUPPORTED_REQUEST],
    [260, ATS_UNSUPPORTED_REQUEST],
    [1, ATS_COMPLETER_ABORT],
    [259, ATS_UNSUPPORTED_REQUEST],
    [274, ATS_COMPLETER_ABORT],
  ])('cause %d', (cause, answer) => {
    expect(answerOfRiscvCause(cause)).toBe(answer);
  });

  test('what is not mapped is a success without R and W, and is not kept', () => {
    const iommu = new ListedTranslations();
    const { tlb, agent } = cacheOver(iommu);
    expect(tlb.translate(0, 5, false, 1, NONE)).toBe(false);
    expect(tlb.status).toBe(ATS_SUCCESS);
    expect([...agent.words.slice(0, 2)]).toEqual([0, 0]);
    expect(tlb.held).toBe(0);
    iommu.set(NO_PASID, 5, 77, 1, 3);
    expect(tlb.translate(0, 5, false, 1, NONE)).toBe(true);
    expect(tlb.physPage).toBe(77);
  });

  test('a device that the IOMMU does not serve gets an Unsupported Request', () => {
    const iommu = new ListedTranslations();
    iommu.set(NO_PASID, 5, 77, 1, 0);
    const { tlb } = cacheOver(iommu);
    expect(tlb.translate(0, 5, false, 1, NONE)).toBe(false);
    expect(tlb.status).toBe(ATS_UNSUPPORTED_REQUEST);
  });
});

describe('device TLB (PCI Express 10.2, 10.3)', () => {
  test('a miss takes a round trip, a hit only the lookup', () => {
    const iommu = new ListedTranslations();
    iommu.set(NO_PASID, 9, 3, 1, 3);
    const { tlb } = cacheOver(iommu);
    tlb.translate(0, 9, true, 1, NONE);
    // 2 x (120 + 90) ns, the lookup, and 24 and 28 bytes on the wire
    expect(tlb.readyAt).toBeGreaterThan(nanoseconds(425));
    expect(tlb.readyAt).toBeLessThan(nanoseconds(434));
    const later = nanoseconds(1000);
    tlb.translate(0, 9, true, 1, later);
    expect(tlb.readyAt).toBe(nanoseconds(1005));
    expect([tlb.hits, tlb.misses]).toEqual([1, 1]);
  });

  test('an access of a page whose request is under way waits for it and sends none', () => {
    const iommu = new ListedTranslations();
    iommu.set(NO_PASID, 9, 3, 1, 3);
    const { tlb, agent } = cacheOver(iommu);
    tlb.translate(0, 9, true, 1, NONE);
    const first = tlb.readyAt;
    tlb.translate(0, 9, false, 1, nanoseconds(100));
    expect(tlb.readyAt).toBe(first);
    expect([agent.requests, tlb.merged]).toEqual([1, 1]);
  });

  test('one request may bring several entries', () => {
    const iommu = new ListedTranslations();
    for (let page = 0; page < 4; page += 1) iommu.set(NO_PASID, 16 + page, 50 - page, 1, 3);
    const { tlb, agent } = cacheOver(iommu, { entriesPerRequest: 4 });
    for (let page = 0; page < 4; page += 1) {
      expect(tlb.translate(0, 16 + page, false, 1, NONE)).toBe(true);
      expect(tlb.physPage).toBe(50 - page);
    }
    expect(agent.requests).toBe(1);
  });

  test('a large translation is kept whole where there is an array for it', () => {
    const iommu = new ListedTranslations();
    iommu.set(NO_PASID, 512, 1024, 512, 3);
    const { tlb, agent } = cacheOver(iommu, { arrays: BOTH });
    expect(tlb.translate(0, 700, false, 1, NONE)).toBe(true);
    expect(tlb.physPage).toBe(1024 + 188);
    expect(tlb.translate(0, 513, false, 1, NONE)).toBe(true);
    expect(tlb.physPage).toBe(1025);
    expect(agent.requests).toBe(1);
  });

  test('the window of interrupts is reached untranslated', () => {
    const iommu = new ListedTranslations();
    iommu.set(NO_PASID, 0xfee00, 0xfee00, 1, 3);
    const { tlb } = cacheOver(iommu);
    expect(tlb.translate(0, 0xfee00, true, 1, NONE)).toBe(true);
    expect(iommu.untranslated).toBe(1);
  });

  test('a PASID sees its own translations and global ones', () => {
    const iommu = new ListedTranslations();
    iommu.set(1, 9, 3, 1, 3);
    iommu.set(2, 9, 4, 1, 3);
    const { tlb } = cacheOver(iommu);
    tlb.translateWithPasid(1, 9, false, 1, NONE);
    tlb.translateWithPasid(2, 9, false, 1, NONE);
    expect(tlb.physPage).toBe(4);
    invalidate(tlb, 9, 1, 1);
    expect([tlb.holds(1, 9), tlb.holds(2, 9)]).toEqual([false, true]);
    invalidate(tlb, 0, 2 ** 52, 1, true);
    expect(tlb.holds(2, 9)).toBe(false);
  });

  test('an invalidation is complete when accesses that used the entry are done, even one that gave way meanwhile', () => {
    const iommu = new ListedTranslations();
    for (let page = 0; page < 64; page += 1) iommu.set(NO_PASID, page, page, 1, 3);
    const useTime = nanoseconds(10_000);
    const kept = cacheOver(iommu, { useTime }).tlb;
    kept.translate(0, 4, true, 1, NONE);
    const until = kept.readyAt + useTime;
    expect(invalidate(kept, 5, 1)).toBe(nanoseconds(50));
    expect(invalidate(kept, 4, 1)).toBe(until + nanoseconds(50));
    const evicted = cacheOver(iommu, { useTime }).tlb;
    evicted.translate(0, 4, true, 1, NONE);
    const usedUntil = evicted.readyAt + useTime;
    for (let page = 8; page < 32; page += 4) evicted.translate(0, page, true, 1, NONE);
    expect(evicted.holds(NO_PASID, 4)).toBe(false);
    expect(invalidate(evicted, 4, 1)).toBeGreaterThanOrEqual(usedUntil);
  });

  test('after an invalidation nothing that it covers is answered from here, and every answer is the list’s', () => {
    const step = fc.record({
      kind: fc.constantFrom('access', 'access', 'access', 'change', 'global'),
      page: fc.nat(1100),
      order: fc.nat(10),
      pasid: fc.integer({ min: NO_PASID, max: 1 }),
      write: fc.boolean(),
      phys: fc.nat(9999),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), fc.integer({ min: 1, max: 4 }), (steps, entriesPerRequest) => {
        const iommu = new ListedTranslations();
        for (const pasid of [NO_PASID, 0, 1]) iommu.set(pasid, 512, 4096 + 512 * (pasid + 1), 512, 3);
        const { tlb } = cacheOver(iommu, { arrays: BOTH, entriesPerRequest });
        for (const { kind, page, order, pasid, write, phys } of steps) {
          if (kind === 'access') {
            const listed = iommu.listed.get(`${String(pasid)}/${String(page)}`);
            const allowed = listed !== undefined && (listed.permissions & (write ? 2 : 1)) !== 0;
            expect(tlb.translateWithPasid(pasid, page, write, 1, NONE)).toBe(allowed);
            if (allowed) expect(tlb.physPage).toBe(listed.phys);
            continue;
          }
          const pages = 2 ** order;
          const first = page - (page % pages);
          const global = kind === 'global';
          for (const space of [NO_PASID, 0, 1]) {
            if (!global && space !== pasid) continue;
            // software changes whole translations: what a large one had beside the range stays as single pages
            const large = iommu.listed.get(`${String(space)}/512`);
            if (large?.pages === 512 && first < 1024 && first + pages > 512) {
              for (let each = 0; each < 512; each += 1) {
                iommu.set(space, 512 + each, large.phys + each, 1, large.permissions);
              }
            }
            for (let each = first; each < first + pages; each += 1) {
              if (phys % 3 === 0) iommu.listed.delete(`${String(space)}/${String(each)}`);
              else iommu.set(space, each, phys + each, 1, phys % 3 === 1 ? 1 : 3);
            }
          }
          invalidate(tlb, first, pages, pasid, global);
          for (const space of global ? [NO_PASID, 0, 1] : [pasid]) {
            for (let each = first; each < first + pages; each += 1) expect(tlb.holds(space, each)).toBe(false);
          }
        }
      }),
      { seed: 3, numRuns: 150 },
    );
  });
});
