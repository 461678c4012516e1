/**
 * One transaction through a whole RISC-V IOMMU (RISC-V IOMMU specification 1.0, 2.3, 2.4, 4.2): the answers of both stages against walks
 * written from the bit tables, and the cause of every refusal.
 */
import { describe, expect, test } from 'vitest';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { RandomStream } from '../../time/random.ts';
import { naiveRiscvWalk } from '../formats/naiveWalks.ts';
import { writeDeviceContext, type DeviceContext, type DirectoryLayout } from './deviceDirectory.ts';
import { writeProcessContext } from './processDirectory.ts';
import {
  ALL_DISALLOWED,
  DDT_ENTRY_ACCESS_FAULT,
  DDT_ENTRY_MISCONFIGURED,
  DDT_ENTRY_NOT_VALID,
  PDT_ENTRY_ACCESS_FAULT,
  PDT_ENTRY_NOT_VALID,
  READ_ACCESS_FAULT,
  READ_GUEST_PAGE_FAULT,
  READ_PAGE_FAULT,
  translationResponse,
  TYPE_DISALLOWED,
  WRITE_GUEST_PAGE_FAULT,
  WRITE_PAGE_FAULT,
} from './riscvCauses.ts';
import { NO_PROCESS, RiscvTranslation } from './riscvTranslation.ts';

const LAYOUT: DirectoryLayout = { levels: 3, extended: false };
const DEVICE = 0x01_0203;
/** Guest pages that hold tables are mapped to themselves, so that tests need not build them through the second stage. */
const FIRST_TABLE_PAGE = 2 ** 15;
const TABLE_PAGES = 2 ** 12;
const V = 1;
const R = 2;
const W = 4;
const U = 16;
const A = 64;
const D = 128;
const FULL = V | R | W | U | A | D;
const READ_ONLY = V | R | U | A;

function machine() {
  const memory = new PhysicalMemory((FIRST_TABLE_PAGE + TABLE_PAGES) * 4096);
  const frames = new FrameAllocator(memory, FIRST_TABLE_PAGE, TABLE_PAGES);
  const iommu = new RiscvTranslation(memory, LAYOUT);
  const root = frames.allocatePage();
  iommu.setDirectory(root);
  const device = (context: DeviceContext): void => {
    writeDeviceContext(memory, frames, root, LAYOUT, DEVICE, context);
  };
  const entry = (at: number, index: number, page: number, flags: number): void => {
    const place = at + (index >>> 9);
    memory.writeWord(place, (index & 511) * 2, ((page << 10) | flags) >>> 0);
    memory.writeWord(place, (index & 511) * 2 + 1, Math.floor(page / 2 ** 22));
  };
  /** A leaf of level 0; the root of a second stage has four tables side by side. */
  const map = (table: number, levels: number, page: number, target: number, flags: number): void => {
    let at = table;
    for (let level = levels - 1; level > 0; level -= 1) {
      const whole = Math.floor(page / 512 ** level);
      const index = level === levels - 1 ? whole : whole % 512;
      const low = memory.readWord(at + (index >>> 9), (index & 511) * 2);
      const next = (low & V) === 0 ? frames.allocatePage() : low >>> 10;
      if ((low & V) === 0) entry(at, index, next, V);
      at = next;
    }
    entry(at, page % 512, target, flags);
  };
  return { memory, frames, iommu, root, device, map };
}

describe('two stages', () => {
  test.each([
    [3, 3],
    [3, 4],
    [4, 3],
    [4, 4],
    [5, 5],
  ])('of %i over %i levels answer as one walk after the other does', (firstLevels, secondLevels) => {
    const { memory, frames, iommu, device, map } = machine();
    const firstPage = frames.allocatePage();
    const secondTablePage = frames.allocateContiguous(4, 4);
    const random = new RandomStream(firstLevels * 8 + secondLevels);
    const pages = Array.from({ length: 80 }, () => random.below(2 ** 15));
    const flags = [FULL, FULL, READ_ONLY, FULL & ~A, FULL & ~U, FULL & ~D, 0];
    for (const page of pages) map(firstPage, firstLevels, page, random.below(2 ** 12), flags[random.below(7)]!);
    for (let page = 0; page < 2 ** 12; page += 1) {
      map(secondTablePage, secondLevels, page, random.below(2 ** 14), flags[random.below(7)]!);
    }
    for (let page = FIRST_TABLE_PAGE; page < FIRST_TABLE_PAGE + TABLE_PAGES; page += 1) {
      map(secondTablePage, secondLevels, page, page, FULL);
    }
    device({ firstPage, firstLevels, secondTablePage, secondLevels, gscid: 0xbeef, pscid: 0xabcde });
    let translated = 0;
    for (let round = 0; round < 600; round += 1) {
      const page = round < 300 ? pages[random.below(80)]! : random.below(2 ** 15);
      const write = random.below(2) === 1;
      const address = BigInt(page) * 4096n;
      const guest = naiveRiscvWalk(memory, firstLevels, 0n, BigInt(firstPage) * 4096n, address, write);
      const second = BigInt(secondTablePage) * 4096n;
      const phys = guest === null ? null : naiveRiscvWalk(memory, secondLevels, 2n, second, guest, write);
      const found = iommu.translate(DEVICE, NO_PROCESS, page, write);
      expect(found ? BigInt(iommu.physPage) * 4096n : null, `page ${page}`).toBe(phys);
      if (found) {
        translated += 1;
        expect([iommu.gscid, iommu.pscid]).toEqual([0xbeef, 0xabcde]);
      } else if (guest === null) expect(iommu.cause).toBe(write ? WRITE_PAGE_FAULT : READ_PAGE_FAULT);
      else expect(iommu.cause).toBe(write ? WRITE_GUEST_PAGE_FAULT : READ_GUEST_PAGE_FAULT);
    }
    expect(translated).toBeGreaterThan(20);
  });

  test('GADE and SADE let the hardware set accessed and dirty bits of their stage (2.1.3.1)', () => {
    const { frames, iommu, device, map } = machine();
    const firstPage = frames.allocatePage();
    const secondTablePage = frames.allocateContiguous(4, 4);
    map(firstPage, 3, 5, 7, FULL & ~(A | D));
    map(secondTablePage, 3, 7, 9, FULL & ~(A | D));
    for (let page = FIRST_TABLE_PAGE; page < FIRST_TABLE_PAGE + TABLE_PAGES; page += 1) {
      map(secondTablePage, 3, page, page, FULL);
    }
    const stages = { firstPage, firstLevels: 3, secondTablePage, secondLevels: 3 };
    const causes = [
      { ...stages },
      { ...stages, firstUpdates: true },
      { ...stages, firstUpdates: true, secondUpdates: true },
      { ...stages },
    ].map((context) => {
      device(context);
      return iommu.translate(DEVICE, NO_PROCESS, 5, true) ? iommu.physPage : -iommu.cause;
    });
    expect(causes).toEqual([-WRITE_PAGE_FAULT, -WRITE_GUEST_PAGE_FAULT, 9, 9]);
  });
});

describe('processes (2.3)', () => {
  function withProcesses(more: Partial<DeviceContext> = {}) {
    const m = machine();
    const directory = m.frames.allocatePage();
    const table = m.frames.allocatePage();
    m.map(table, 3, 5, 50, FULL);
    writeProcessContext(m.memory, m.frames, directory, 2, 0, { pscid: 70, tablePage: table, levels: 3 });
    writeProcessContext(m.memory, m.frames, directory, 2, 0x1_2345, { pscid: 71, tablePage: table, levels: 3 });
    writeProcessContext(m.memory, m.frames, directory, 2, 9, { pscid: 72, tablePage: 0, levels: 0 });
    m.device({ processDirectory: true, firstLevels: 2, firstPage: directory, ...more });
    const ask = (process: number, page = 5): number[] =>
      m.iommu.translate(DEVICE, process, page, false) ? [m.iommu.physPage, m.iommu.pscid] : [-m.iommu.cause];
    return { ...m, directory, ask };
  }

  test('each has its own table and tag; without one, requests pass the first stage by, or are of process 0', () => {
    const { ask } = withProcesses();
    expect(ask(0x1_2345)).toEqual([50, 71]);
    expect(ask(9, 1234)).toEqual([1234, 72]);
    expect(ask(NO_PROCESS, 1234)).toEqual([1234, 0]);
    expect(ask(0x1_2345, 6)).toEqual([-READ_PAGE_FAULT]);
    expect(ask(8)).toEqual([-PDT_ENTRY_NOT_VALID]);
    expect(ask(2 ** 17)).toEqual([-TYPE_DISALLOWED]);
    expect(withProcesses({ processZeroByDefault: true }).ask(NO_PROCESS)).toEqual([50, 70]);
  });

  test('behind a second stage every page of the directory goes through it, and is refused as the access is', () => {
    const m = machine();
    const secondTablePage = m.frames.allocateContiguous(4, 4);
    const directory = m.frames.allocatePage();
    const table = m.frames.allocatePage();
    m.map(table, 3, 5, 50, FULL);
    writeProcessContext(m.memory, m.frames, directory, 1, 3, { pscid: 70, tablePage: 0x200, levels: 3 });
    m.device({
      processDirectory: true,
      firstLevels: 1,
      firstPage: 0x100,
      secondTablePage,
      secondLevels: 3,
    });
    expect([m.iommu.translate(DEVICE, 3, 5, true), m.iommu.cause]).toEqual([false, WRITE_GUEST_PAGE_FAULT]);
    m.map(secondTablePage, 3, 0x100, directory, FULL);
    expect([m.iommu.translate(DEVICE, 3, 5, false), m.iommu.cause]).toEqual([false, READ_GUEST_PAGE_FAULT]);
    m.map(secondTablePage, 3, 0x200, table, FULL);
    m.map(secondTablePage, 3, 50, 4000, FULL);
    for (let page = FIRST_TABLE_PAGE; page < FIRST_TABLE_PAGE + TABLE_PAGES; page += 1) {
      m.map(secondTablePage, 3, page, page, FULL);
    }
    expect([m.iommu.translate(DEVICE, 3, 5, false), m.iommu.physPage]).toEqual([true, 4000]);
  });
});

describe('causes (4.2)', () => {
  test('of the device directory', () => {
    const { iommu, device, root, memory } = machine();
    const cause = (deviceId = DEVICE, process = NO_PROCESS): number =>
      iommu.translate(deviceId, process, 5, false) ? 0 : iommu.cause;
    device({});
    expect(cause()).toBe(0);
    expect(cause(DEVICE, 1)).toBe(TYPE_DISALLOWED);
    expect(cause(DEVICE + 1)).toBe(DDT_ENTRY_NOT_VALID);
    expect(cause(0x02_0000)).toBe(DDT_ENTRY_NOT_VALID);
    expect(cause(0x100_0000)).toBe(TYPE_DISALLOWED);
    device({ secondLevels: 4, secondTablePage: 0x102 });
    expect(cause()).toBe(DDT_ENTRY_MISCONFIGURED);
    device({ processZeroByDefault: true });
    expect(cause()).toBe(DDT_ENTRY_MISCONFIGURED);
    memory.writeWord(root, 2, memory.readWord(root, 2) | 0x200);
    expect(cause()).toBe(DDT_ENTRY_MISCONFIGURED);
    // what lies outside the memory cannot be read: the directory, a process directory, a table
    device({ processDirectory: true, firstLevels: 1, firstPage: 2 ** 20, processZeroByDefault: true });
    memory.writeWord(root, 2, memory.readWord(root, 2) & ~0x200);
    expect(cause()).toBe(PDT_ENTRY_ACCESS_FAULT);
    device({ firstLevels: 3, firstPage: 2 ** 20 });
    expect(cause()).toBe(READ_ACCESS_FAULT);
    iommu.setDirectory(2 ** 20);
    expect(cause()).toBe(DDT_ENTRY_ACCESS_FAULT);
    iommu.setDirectory(-1);
    expect(cause()).toBe(ALL_DISALLOWED);
  });

  test('answers to translation requests (3.6)', () => {
    expect([ALL_DISALLOWED, DDT_ENTRY_MISCONFIGURED, TYPE_DISALLOWED].map(translationResponse)).toEqual(
      new Array(3).fill('unsupportedRequest'),
    );
    expect([READ_PAGE_FAULT, WRITE_GUEST_PAGE_FAULT, PDT_ENTRY_NOT_VALID].map(translationResponse)).toEqual(
      new Array(3).fill('noAccess'),
    );
    expect([5, 7, 267].map(translationResponse)).toEqual(new Array(3).fill('completerAbort'));
  });
});
