import { describe, expect, test } from 'vitest';
import {
  HMM_PFN_DMA_MAPPED,
  HMM_PFN_ERROR,
  HMM_PFN_ORDER_MASK,
  HMM_PFN_P2PDMA,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
  HmmPfnList,
} from './hmmPfn.ts';
import { HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE, hmmRangeFault, type HmmRange } from './hmmRangeFault.ts';
import { EBUSY, EFAULT, EINVAL, ENOMEM, EPERM } from './memoryErrors.ts';
import { beginMigration, forkAddressSpace, movePageToPeer } from './pageMovement.ts';
import { PEER_PAGE, TestProcesses } from './testProcess.ts';

const READ = HMM_PFN_REQ_FAULT;
const WRITE = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
const VALID_WRITE = HMM_PFN_VALID | HMM_PFN_WRITE;

function rangeOf(machine: TestProcesses, start: number, pages: number, options: Partial<HmmRange> = {}): HmmRange {
  const notifier = machine.notify(start, pages, (_, sequence) => {
    notifier.setSequence(sequence);
    return true;
  });
  return {
    mm: machine.mm,
    notifier,
    notifierSequence: notifier.readBegin(),
    start,
    end: start + pages,
    pfns: new HmmPfnList(pages),
    defaultFlags: 0,
    pfnFlagsMask: 0,
    ...options,
  };
}

describe('hmm_range_fault (mm/hmm.c)', () => {
  test('a snapshot faults nothing in', () => {
    const machine = new TestProcesses();
    const start = machine.mm.map({ pages: 3 });
    machine.setByte(start + 1, 1);
    machine.mm.protect(start + 1, 1, { writable: false });
    const { faults } = machine.mm;
    const range = rangeOf(machine, start, 3);
    expect(hmmRangeFault(range)).toBe(0);
    expect([...range.pfns.flags]).toEqual([0, HMM_PFN_VALID, 0]);
    expect(range.pfns.pages[1]).toBe(machine.mm.table.pageOf(start + 1));
    expect(machine.mm.faults).toBe(faults);
  });

  test('reading finds the zero page, writing a page of its own', () => {
    const machine = new TestProcesses();
    const start = machine.mm.map({ pages: 2 });
    const reading = rangeOf(machine, start, 2, { defaultFlags: READ });
    expect(hmmRangeFault(reading)).toBe(0);
    expect([...reading.pfns.flags]).toEqual([HMM_PFN_VALID, HMM_PFN_VALID]);
    expect([...reading.pfns.pages]).toEqual([machine.pages.zeroPage, machine.pages.zeroPage]);
    const writing = rangeOf(machine, start, 2, { defaultFlags: WRITE });
    // each copy of the zero page is an invalidation, so the range has to be read anew
    expect(hmmRangeFault(writing)).toBe(EBUSY);
    writing.notifierSequence = writing.notifier.readBegin();
    expect(hmmRangeFault(writing)).toBe(0);
    expect([...writing.pfns.flags]).toEqual([VALID_WRITE, VALID_WRITE]);
    expect([...writing.pfns.pages]).toEqual([machine.mm.table.pageOf(start), machine.mm.table.pageOf(start + 1)]);
  });

  test('requests stand in the entries too, where the mask lets them', () => {
    const machine = new TestProcesses();
    const start = machine.mm.map({ pages: 4 });
    machine.setByte(start + 3, 1);
    const ignored = rangeOf(machine, start, 4);
    ignored.pfns.flags[1] = WRITE;
    expect(hmmRangeFault(ignored)).toBe(0);
    expect([...ignored.pfns.flags]).toEqual([0, 0, 0, VALID_WRITE]);
    const heeded = rangeOf(machine, start, 4, { pfnFlagsMask: WRITE });
    heeded.pfns.flags[1] = WRITE;
    expect(hmmRangeFault(heeded)).toBe(0);
    // whoever wants one page wants the rest of the 2 MiB: the kernel faults them all
    expect([...heeded.pfns.flags]).toEqual([0, VALID_WRITE, VALID_WRITE, VALID_WRITE]);
  });

  test('what DMA mapping noted in an entry stays, everything else is replaced', () => {
    const machine = new TestProcesses();
    const start = machine.mm.map({ pages: 2 });
    const range = rangeOf(machine, start, 2, { defaultFlags: WRITE });
    range.pfns.flags[0] = HMM_PFN_DMA_MAPPED | HMM_PFN_P2PDMA | HMM_PFN_ERROR | 5;
    expect(hmmRangeFault(range)).toBe(0);
    expect(range.pfns.flags[0]).toBe(HMM_PFN_DMA_MAPPED | HMM_PFN_P2PDMA | VALID_WRITE);
  });

  test('holes between areas and areas of devices: an error when a page was wanted, else marked', () => {
    const machine = new TestProcesses();
    const { mm } = machine;
    const start = mm.map({ pages: 1, at: 0x20_0000 });
    mm.map({ pages: 1, at: start + 2, kind: 'pfnmap', offset: 0x7000 });
    mm.map({ pages: 1, at: start + 3, readable: false, writable: false });
    const snapshot = rangeOf(machine, start, 5);
    expect(hmmRangeFault(snapshot)).toBe(0);
    expect([...snapshot.pfns.flags]).toEqual([0, HMM_PFN_ERROR, HMM_PFN_ERROR, HMM_PFN_ERROR, HMM_PFN_ERROR]);
    const wanted = [1, 2, 3, 4].map((page) => hmmRangeFault(rangeOf(machine, start + page, 1, { defaultFlags: READ })));
    expect(wanted).toEqual([EFAULT, EINVAL, EFAULT, EFAULT]);
  });

  test('writing where the process may not is -EPERM; running out of memory is -ENOMEM', () => {
    const machine = new TestProcesses({ ramPages: 3 });
    const readOnly = machine.mm.map({ pages: 1, writable: false });
    expect(hmmRangeFault(rangeOf(machine, readOnly, 1, { defaultFlags: WRITE }))).toBe(EPERM);
    const start = machine.mm.map({ pages: 4 });
    expect(hmmRangeFault(rangeOf(machine, start, 4, { defaultFlags: WRITE }))).toBe(ENOMEM);
  });

  test('a huge entry says its order on every page, from whatever place the range begins', () => {
    const machine = new TestProcesses();
    const start = machine.mm.map({ pages: 1024, hugePages: true });
    const range = rangeOf(machine, start + 500, 24, { defaultFlags: WRITE });
    expect(hmmRangeFault(range)).toBe(0);
    expect(new Set([...range.pfns.flags].map((flags) => flags & HMM_PFN_ORDER_MASK))).toEqual(new Set([9]));
    const expected = Array.from({ length: 24 }, (_, index) => machine.mm.table.pageOf(start + 500 + index));
    expect([...range.pfns.pages]).toEqual(expected);
  });

  test('a page under way is waited for when it is wanted, and absent when it is not', () => {
    const machine = new TestProcesses();
    const { mm } = machine;
    const start = mm.map({ pages: 1 });
    machine.setByte(start, 5);
    beginMigration(mm, start);
    const snapshot = rangeOf(machine, start, 1);
    expect(hmmRangeFault(snapshot)).toBe(0);
    expect([snapshot.pfns.flags[0], mm.migrations.size]).toEqual([0, 1]);
    const wanted = rangeOf(machine, start, 1, { defaultFlags: READ });
    expect(hmmRangeFault(wanted)).toBe(0);
    expect(mm.migrations.size).toBe(0);
    expect(wanted.pfns.pages[0]).toBe(mm.table.pageOf(start));
    expect(wanted.pfns.flags[0]).toBe(VALID_WRITE);
  });

  test('a range that was invalidated since its sequence was read is -EBUSY, with nothing faulted', () => {
    const machine = new TestProcesses();
    const start = machine.mm.map({ pages: 1 });
    const range = rangeOf(machine, start, 1, { defaultFlags: WRITE });
    machine.mm.discard(start, 1);
    expect(hmmRangeFault(range)).toBe(EBUSY);
    expect(machine.mm.faults).toBe(0);
  });

  test('after a fault it goes on where it stopped: earlier answers are not asked for again', () => {
    const machine = new TestProcesses();
    const { mm } = machine;
    const start = mm.map({ pages: 1030 });
    machine.setByte(start, 1);
    const range = rangeOf(machine, start, 1030, { defaultFlags: WRITE });
    const before = mm.faults;
    expect(hmmRangeFault(range)).toBe(0);
    expect(mm.faults - before).toBe(1029);
    expect(range.pfns.flags.every((flags) => flags === VALID_WRITE)).toBe(true);
  });

  test("pages shared by a fork and a peer's pages come as they are", () => {
    const machine = new TestProcesses();
    const { mm } = machine;
    const start = mm.map({ pages: 2 });
    machine.setByte(start, 1);
    machine.setByte(start + 1, 1);
    movePageToPeer(mm, start + 1, PEER_PAGE + 4);
    forkAddressSpace(mm, 'child');
    const range = rangeOf(machine, start, 2, { defaultFlags: READ });
    expect(hmmRangeFault(range)).toBe(0);
    expect([...range.pfns.flags]).toEqual([HMM_PFN_VALID, HMM_PFN_VALID]);
    expect(range.pfns.pages[1]).toBe(PEER_PAGE + 4);
  });
});
