/**
 * One transaction through the whole SMMUv3 (Arm SMMUv3 specification IHI 0070, 3.3, 3.12, 7.3): the answers of both stages against walks
 * written from the bit tables, the event of every refusal, and stalls.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { RandomStream } from '../../time/random.ts';
import { naiveArmWalk } from '../formats/naiveWalks.ts';
import { READ, READ_WRITE, type PageTableFormat } from '../formats/pageTableFormat.ts';
import { allocateContextTable, writeContextDescriptor } from './contextDescriptor.ts';
import {
  C_BAD_CD,
  C_BAD_STE,
  C_BAD_STREAMID,
  C_BAD_SUBSTREAMID,
  F_ACCESS,
  F_ADDR_SIZE,
  F_CD_FETCH,
  F_PERMISSION,
  F_TRANSLATION,
  F_WALK_EABT,
  NO_STALL,
  NO_SUBSTREAM,
  SmmuEventQueue,
} from './smmuEvents.ts';
import { SmmuTranslation } from './smmuTranslation.ts';
import { StalledTransactions } from './stalledTransactions.ts';
import {
  allocateStreamTable,
  CONFIG_ABORT,
  CONFIG_BYPASS,
  CONFIG_NESTED,
  CONFIG_STAGE_1,
  CONFIG_STAGE_2,
  LINUX_STREAM_TABLE,
  writeStreamTableEntry,
} from './streamTable.ts';
import { STAGE1_FORMATS, STAGE2_FORMATS } from './tableShape.ts';

const STREAM = 0x0108;
const VMID = 0x51;
const ASID = 0xa51d;
const GUEST_PAGES = 2 ** 13;
/** TG, bits of a granule, levels and SL0 of 40-bit stage 2. */
const GRANULES = [
  { tg: 0, bits: 12n },
  { tg: 1, bits: 16n },
  { tg: 2, bits: 14n },
] as const;

function machine(outputBits = 48) {
  const memory = new PhysicalMemory(2 ** 32);
  const frames = new FrameAllocator(memory, 2 ** 14, 2 ** 19);
  const events = new SmmuEventQueue(memory, frames);
  const stalls = new StalledTransactions(1, events);
  const smmu = new SmmuTranslation({ memory, layout: LINUX_STREAM_TABLE, events, stalls, outputBits });
  const streams = allocateStreamTable(frames, LINUX_STREAM_TABLE);
  smmu.setStreamTable(streams);
  const contexts = allocateContextTable(frames, 1, 8);
  const ends: string[] = [];
  const ask = (iovaPage: number, write = false, substreamId = NO_SUBSTREAM, streamId = STREAM) =>
    smmu.translate(streamId, substreamId, iovaPage, write, (end) => ends.push(end));
  const entry = (config: number, more: object = {}): void => {
    writeStreamTableEntry(memory, frames, streams, LINUX_STREAM_TABLE, STREAM, {
      config,
      stage1: { contextPage: contexts.page, format: 1, log2Contexts: 8 },
      ...more,
    });
  };
  return { memory, frames, events, stalls, smmu, streams, contexts, ends, ask, entry };
}

type Machine = ReturnType<typeof machine>;

/** Puts a leaf of level 0 into tables, whose own addresses `place` may move, as stage 2 would. */
function mapPage(
  m: Machine,
  format: PageTableFormat,
  levels: number,
  root: number,
  page: number,
  target: number,
  low: number,
): void {
  let table = root;
  for (let level = levels - 1; level > 0; level -= 1) {
    const [at, word] = placeOf(format, table, page, level, level === levels - 1);
    if (m.memory.readWord(at, word) === 0) {
      const next = m.frames.allocateContiguous(format.granulePages, format.granulePages);
      m.memory.writeWord(at, word, format.tableLow(next, level) >>> 0);
      m.memory.writeWord(at, word + 1, format.tableHigh(next));
    }
    table = format.target(m.memory.readWord(at, word), m.memory.readWord(at, word + 1), level);
  }
  const [at, word] = placeOf(format, table, page, 0, levels === 1);
  m.memory.writeWord(at, word, ((target << 12) | low) >>> 0);
  m.memory.writeWord(at, word + 1, Math.floor(target / 2 ** 20));
}

function placeOf(format: PageTableFormat, table: number, page: number, level: number, top: boolean): [number, number] {
  const whole = Math.floor(page / format.pagesPerEntry[level]!);
  const index = top ? whole : whole % (format.pagesPerEntry[level + 1]! / format.pagesPerEntry[level]!);
  return [table + (index >>> 9), (index & 511) * 2];
}

/** Low bits of a leaf: valid page, unprivileged, used; and with nothing of it missing. */
const STAGE1_LEAF = 0x3 | (1 << 6) | (1 << 10);
const STAGE1_READ_ONLY = STAGE1_LEAF | (1 << 7);
const STAGE2_LEAF = 0x3 | (3 << 6) | (1 << 10);

/** Guest memory is mapped to other pages by stage 2, the tables that both stages share to themselves. */
function nestedMachine(tg1: number, tg2: number) {
  const m = machine();
  const first = STAGE1_FORMATS[tg1]!;
  const second = STAGE2_FORMATS[tg2]!;
  const unit = second.granulePages;
  const firstLevels = first.levels.at(-1)!;
  const secondLevels = tg2 === 0 ? 3 : second.levels[0]!;
  const firstRoot = m.frames.allocateContiguous(first.granulePages, first.granulePages);
  const secondRoot = m.frames.allocateContiguous(unit * 16, unit * 16);
  const random = new RandomStream(tg1 * 3 + tg2 + 1);
  for (let index = 0; index < 60; index += 1) {
    const page = random.below(2 ** 20) * first.granulePages;
    const target = random.below(GUEST_PAGES / first.granulePages) * first.granulePages;
    mapPage(m, first, firstLevels, firstRoot, page, target, random.below(3) === 0 ? STAGE1_READ_ONLY : STAGE1_LEAF);
  }
  for (let page = 0; page < GUEST_PAGES; page += unit) {
    const permissions = [0, 1, 3, 3][random.below(4)]!;
    const target = 2 ** 18 + random.below(2 ** 10) * unit;
    mapPage(m, second, secondLevels, secondRoot, page, target, 0x3 | (permissions << 6) | (1 << 10));
  }
  // the pages of stage 1's tables and of the descriptors
  for (let page = 2 ** 14; page < 2 ** 14 + 2 ** 19; page += unit) {
    if (page + unit > m.frames.endPage - 8_000) mapPage(m, second, secondLevels, secondRoot, page, page, STAGE2_LEAF);
  }
  const bits2 = 12 + Math.log2(second.pagesPerEntry[secondLevels]! / 1);
  writeContextDescriptor(m.memory, m.frames, m.contexts, 0, {
    asid: ASID,
    tablePage: firstRoot,
    addressBits: 48,
    granule: tg1,
  });
  const stage2 = {
    vmid: VMID,
    tablePage: secondRoot,
    addressBits: Math.min(48, bits2),
    startLevel: tg2 === 0 ? secondLevels - 2 : secondLevels - 1,
    granule: tg2,
  };
  m.entry(CONFIG_NESTED, { stage2 });
  return { ...m, firstRoot, secondRoot, firstLevels, secondLevels, bits2: Math.min(48, bits2), stage2, random };
}

describe('two stages', () => {
  const pairs = GRANULES.flatMap((one) => GRANULES.map((two) => [one, two] as const));

  test.each(pairs)('of granules %o and %o answer as one walk after the other does', (one, two) => {
    const m = nestedMachine(one.tg, two.tg);
    const second = (address: bigint, write: boolean): bigint | null =>
      naiveArmWalk(
        m.memory,
        2,
        two.bits,
        m.secondLevels,
        BigInt(m.bits2),
        BigInt(m.secondRoot) * 4096n,
        address,
        write,
      );
    let translated = 0;
    const unit = STAGE1_FORMATS[one.tg].granulePages;
    const again = new RandomStream(one.tg * 3 + two.tg + 1);
    for (let round = 0; round < 400; round += 1) {
      const page = round < 60 ? again.below(2 ** 20) * unit + m.random.below(unit) : m.random.below(2 ** 21);
      if (round < 60) {
        again.below(GUEST_PAGES / unit);
        again.below(3);
      }
      const write = m.random.below(2) === 1;
      const intermediate = naiveArmWalk(
        m.memory,
        1,
        one.bits,
        m.firstLevels,
        48n,
        BigInt(m.firstRoot) * 4096n,
        BigInt(page) * 4096n,
        write,
      );
      const expected = intermediate === null ? null : second(intermediate, write);
      const outcome = m.ask(page, write);
      expect(outcome === 'translated' ? BigInt(m.smmu.physPage) * 4096n : null, `page ${page}`).toBe(expected);
      if (outcome === 'translated') {
        translated += 1;
        expect([m.smmu.asid, m.smmu.vmid]).toEqual([ASID, VMID]);
      } else expect(m.smmu.stage2).toBe(intermediate !== null);
    }
    expect(translated).toBeGreaterThan(5);
  });
});

describe('events (7.3)', () => {
  function stageOne(more: object = {}, outputBits = 48) {
    const m = machine(outputBits);
    const format = STAGE1_FORMATS[0];
    const root = m.frames.allocatePage();
    mapPage(m, format, 4, root, 5, 50, STAGE1_LEAF);
    mapPage(m, format, 4, root, 6, 60, STAGE1_READ_ONLY);
    mapPage(m, format, 4, root, 7, 70, STAGE1_LEAF & ~(1 << 10));
    mapPage(m, format, 4, root, 8, 2 ** 28, STAGE1_LEAF);
    const descriptor = { asid: ASID, tablePage: root, addressBits: 48, granule: 0, ...more };
    writeContextDescriptor(m.memory, m.frames, m.contexts, 0, descriptor);
    writeContextDescriptor(m.memory, m.frames, m.contexts, 9, { ...descriptor, addressBits: 39 });
    m.entry(CONFIG_STAGE_1);
    return m;
  }

  test('what is mapped is translated, with its tag and permissions', () => {
    const { ask, smmu } = stageOne();
    expect([ask(5, true), smmu.physPage, smmu.permissions, smmu.asid, smmu.vmid]).toEqual([
      'translated',
      50,
      READ_WRITE,
      ASID,
      0,
    ]);
    expect([ask(6), smmu.physPage, smmu.permissions]).toEqual(['translated', 60, READ]);
  });

  test('each refusal has its own event', () => {
    const { ask, events, memory, frames, contexts, entry, streams, smmu } = stageOne({}, 36);
    const event = (iovaPage: number, write = false, substream = NO_SUBSTREAM, stream = STREAM): number | null => {
      expect(ask(iovaPage, write, substream, stream)).toBe('faulted');
      return events.take()?.id ?? null;
    };
    expect(event(4)).toBe(F_TRANSLATION);
    expect(event(2 ** 36)).toBe(F_TRANSLATION);
    expect(event(6, true)).toBe(F_PERMISSION);
    expect(event(7)).toBe(F_ACCESS);
    expect(event(8)).toBe(F_ADDR_SIZE);
    expect(event(5, false, 256)).toBe(C_BAD_SUBSTREAMID);
    expect(event(5, false, 0)).toBe(C_BAD_SUBSTREAMID);
    expect(event(5, false, 3)).toBe(C_BAD_CD);
    expect(event(5, false, 200)).toBe(C_BAD_SUBSTREAMID);
    expect(event(5, false, NO_SUBSTREAM, STREAM + 1)).toBe(C_BAD_STE);
    expect(event(5, false, NO_SUBSTREAM, 0x7700)).toBe(C_BAD_STREAMID);
    // a level-1 descriptor of context descriptors that is not valid
    memory.writeWord(contexts.page, 0, 0);
    expect(event(5)).toBe(C_BAD_SUBSTREAMID);
    // what lies outside the memory cannot be read: a table, a descriptor, an entry
    writeContextDescriptor(memory, frames, contexts, 0, { asid: 1, tablePage: 2 ** 24, addressBits: 48, granule: 0 });
    expect(event(5)).toBe(F_WALK_EABT);
    entry(CONFIG_STAGE_1, { stage1: { contextPage: 2 ** 24, format: 0, log2Contexts: 0 } });
    expect(event(5)).toBe(F_CD_FETCH);
    entry(CONFIG_ABORT);
    expect(event(5)).toBe(null);
    smmu.setStreamTable(2 ** 24);
    expect(event(5)).toBe(C_BAD_STREAMID);
    smmu.setStreamTable(-1);
    expect(event(5)).toBe(C_BAD_STREAMID);
    expect(streams).toBeGreaterThan(0);
  });

  test('an address beyond T0SZ is not translated, though the tables would', () => {
    const { ask, smmu } = stageOne();
    expect([ask(2 ** 27, false, 9), smmu.event]).toEqual(['faulted', F_TRANSLATION]);
  });

  test('with HA the access flag is set instead (5.4)', () => {
    const { ask, smmu } = stageOne({ setsAccessFlag: true });
    expect([ask(7), smmu.physPage]).toEqual(['translated', 70]);
  });

  test('bypass lets everything through; stage 2 alone has events of its own', () => {
    const m = stageOne();
    m.entry(CONFIG_BYPASS);
    expect([m.ask(123, true), m.smmu.physPage]).toEqual(['translated', 123]);
    const root = m.frames.allocateContiguous(16, 16);
    mapPage(m, STAGE2_FORMATS[0], 3, root, 2 ** 18 * 3 + 5, 77, STAGE2_LEAF);
    mapPage(m, STAGE2_FORMATS[0], 3, root, 6, 78, STAGE2_LEAF & ~(1 << 7));
    const stage2 = { vmid: VMID, tablePage: root, addressBits: 41, startLevel: 1, granule: 0 };
    m.entry(CONFIG_STAGE_2, { stage2 });
    expect([m.ask(2 ** 18 * 3 + 5, true), m.smmu.physPage, m.smmu.vmid]).toEqual(['translated', 77, VMID]);
    expect([m.ask(6, true), m.smmu.event, m.smmu.stage2]).toEqual(['faulted', F_PERMISSION, true]);
    expect([m.ask(9), m.smmu.event, m.smmu.stage2]).toEqual(['faulted', F_TRANSLATION, true]);
    expect(m.events.take()).toMatchObject({ id: F_PERMISSION, stage2: true, write: true });
    m.entry(CONFIG_STAGE_2, { stage2: { ...stage2, startLevel: 0, granule: 1 } });
    expect([m.ask(9), m.smmu.event]).toEqual(['faulted', C_BAD_STE]);
  });

  test('the descriptor of a context that stalls holds a faulting transaction; one that forbids it is bad (3.12.2, 5.2)', () => {
    const m = stageOne({ stalls: true });
    expect([m.ask(4, true), m.smmu.event]).toEqual(['stalled', F_TRANSLATION]);
    const { stag } = m.smmu;
    expect(m.events.take()).toMatchObject({ id: F_TRANSLATION, stag, streamId: STREAM, iovaPage: 4, write: true });
    // the one place is taken: the next waits without an event
    expect([m.ask(6, true), m.smmu.stag]).toEqual(['stalled', NO_STALL]);
    expect(m.events.take()).toBe(null);
    m.stalls.resume(STREAM, stag, 'retry');
    expect(m.ends).toEqual(['retry']);
    expect(m.events.take()).toMatchObject({ id: F_PERMISSION, iovaPage: 6 });
    // a fault of the configuration never stalls
    expect(m.ask(5, false, 3)).toBe('faulted');
    m.entry(CONFIG_STAGE_1, {
      stage1: { contextPage: m.contexts.page, format: 1, log2Contexts: 8, stallDisabled: true },
    });
    expect([m.ask(4), m.smmu.event]).toEqual(['faulted', C_BAD_CD]);
  });

  test('a transaction that is tried again finds what was mapped in between', () => {
    fc.assert(
      fc.property(fc.integer({ min: 16, max: 4000 }), fc.boolean(), (page, write) => {
        const m = stageOne({ stalls: true });
        let again: string | null = null;
        const outcome = m.smmu.translate(STREAM, NO_SUBSTREAM, page, write, () => {
          again = m.ask(page, write);
        });
        expect(outcome).toBe('stalled');
        const root = m.memory.readWord(m.contexts.page, 0) === 0 ? -1 : rootOf(m);
        mapPage(m, STAGE1_FORMATS[0], 4, root, page, 99, STAGE1_LEAF);
        m.stalls.resume(STREAM, m.events.take()!.stag, 'retry');
        expect([again, m.smmu.physPage]).toEqual(['translated', 99]);
      }),
      { numRuns: 20, seed: 2 },
    );
  });
});

/** TTB0 of descriptor 0. */
function rootOf({ memory, contexts }: Machine): number {
  const leaf = memory.readWord(contexts.page, 0) >>> 12;
  return memory.readWord(leaf, 2) >>> 12;
}
