import { describe, expect, test } from 'vitest';
import { MappedFile } from './mappedFile.ts';
import { EAGAIN, EFAULT, EINVAL, ENOMEM } from './memoryErrors.ts';
import { beginMigration, forkAddressSpace, migratePage, movePageToPeer, movePageToRam } from './pageMovement.ts';
import { FOLL_WRITE, pinUserPages, unpinUserPages } from './pinUserPages.ts';
import { PEER_PAGE, TestProcesses } from './testProcess.ts';

describe('faults (mm/memory.c)', () => {
  test('untouched memory reads as the zero page, and a write makes a page of its own', () => {
    const machine = new TestProcesses();
    const { mm, pages } = machine;
    const start = mm.map({ pages: 4 });
    expect(machine.byte(start)).toBe(0);
    expect(mm.table.pageOf(start)).toBe(pages.zeroPage);
    expect(pages.held).toBe(0);
    machine.setByte(start, 7);
    expect(mm.table.pageOf(start)).not.toBe(pages.zeroPage);
    expect([machine.byte(start), machine.byte(start + 1)]).toEqual([7, 0]);
    expect(pages.held).toBe(1);
  });

  test('no area, no permission, no memory', () => {
    const machine = new TestProcesses({ ramPages: 4 });
    const { mm } = machine;
    const readOnly = mm.map({ pages: 1, writable: false });
    const hidden = mm.map({ pages: 1, readable: false, writable: false });
    const plain = mm.map({ pages: 8 });
    expect(mm.fault(readOnly, true)).toBe(EFAULT);
    expect(mm.fault(hidden, false)).toBe(EFAULT);
    expect(mm.fault(plain + 8, false)).toBe(EFAULT);
    expect([0, 1, 2].map((page) => mm.fault(plain + page, true))).toEqual([0, 0, ENOMEM]);
    expect(mm.map({ pages: 0 })).toBe(EINVAL);
  });

  test('a huge area takes 2 MiB in one entry, and falls back to small pages at its edges', () => {
    const machine = new TestProcesses();
    const { mm, pages } = machine;
    const start = mm.map({ pages: 1024 + 10, hugePages: true });
    machine.setByte(start + 5, 1);
    machine.setByte(start + 1030, 2);
    expect([mm.table.isHuge(start), mm.table.isHuge(start + 1030)]).toEqual([true, false]);
    expect(mm.table.pageOf(start) % 512).toBe(0);
    expect(pages.held).toBe(513);
    mm.unmap(start + 100, 1);
    expect(mm.table.isHuge(start)).toBe(false);
    expect(pages.held).toBe(512);
    expect(machine.byte(start + 5)).toBe(1);
    expect(machine.byte(start + 100)).toBe(-1);
  });

  test('a file is read from one page by all, and a write leaves it alone', () => {
    const machine = new TestProcesses();
    const file = new MappedFile(machine.pages);
    file.write(4090, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    const start = machine.mm.map({ pages: 2, kind: 'file', file, writable: true });
    const again = machine.mm.map({ pages: 1, kind: 'file', file, offset: 1 });
    expect(machine.byte(start + 1)).toBe(7);
    expect(machine.mm.table.pageOf(start + 1)).toBe(file.pageAt(1));
    machine.setByte(start + 1, 99);
    expect([machine.byte(start + 1), machine.byte(again)]).toEqual([99, 7]);
    file.close();
    machine.mm.exit();
    expect(machine.pages.held).toBe(0);
  });

  test("a peer's memory is mapped where it is, with its bytes", () => {
    const machine = new TestProcesses();
    machine.memory.writeBytes((PEER_PAGE + 3) * 4096, Uint8Array.of(42), 0, 1);
    const start = machine.mm.map({ pages: 4, kind: 'p2p', offset: PEER_PAGE + 2 });
    expect(machine.byte(start + 1)).toBe(42);
    machine.setByte(start + 1, 43);
    expect(machine.memory.readWord(PEER_PAGE + 3, 0)).toBe(43);
  });
});

describe('areas', () => {
  test('protection of a part splits its area, and what becomes writable is granted by the next fault', () => {
    const machine = new TestProcesses();
    const { mm } = machine;
    const start = mm.map({ pages: 6 });
    for (let page = start; page < start + 6; page += 1) machine.setByte(page, 1);
    expect(mm.protect(start + 2, 2, { writable: false })).toBe(0);
    expect([1, 2, 3, 4].map((page) => machine.setByte(start + page, 2))).toEqual([0, EFAULT, EFAULT, 0]);
    expect(mm.areas.all).toHaveLength(3);
    mm.protect(start + 3, 1, { writable: true });
    const frame = mm.table.pageOf(start + 3);
    expect(machine.setByte(start + 3, 3)).toBe(0);
    expect(mm.table.pageOf(start + 3)).toBe(frame);
    expect(mm.protect(start, 7, { writable: true })).toBe(ENOMEM);
  });

  test('mapping over a place takes it, and offsets follow the parts', () => {
    const machine = new TestProcesses();
    const { mm } = machine;
    const start = mm.map({ pages: 8, kind: 'p2p', offset: PEER_PAGE });
    mm.map({ pages: 2, at: start + 3 });
    mm.fault(start + 6, false);
    expect(mm.table.pageOf(start + 6)).toBe(PEER_PAGE + 6);
    expect(mm.areas.find(start + 4)!.kind).toBe('anonymous');
    expect(mm.map({ pages: 2 })).toBe(start + 8);
  });
});

describe('fork and copy on write', () => {
  test('both see the old bytes and nothing of what the other writes', () => {
    const machine = new TestProcesses();
    const { mm, pages } = machine;
    const start = mm.map({ pages: 3 });
    machine.setByte(start, 1);
    machine.setByte(start + 1, 2);
    const child = forkAddressSpace(mm, 'child')!;
    expect(pages.held).toBe(2);
    machine.setByte(start, 10);
    machine.setByte(start + 1, 20, child);
    expect([machine.byte(start), machine.byte(start + 1)]).toEqual([10, 2]);
    expect([machine.byte(start, child), machine.byte(start + 1, child)]).toEqual([1, 20]);
    child.exit();
    const frame = mm.table.pageOf(start + 1);
    machine.setByte(start + 1, 3);
    expect(mm.table.pageOf(start + 1)).toBe(frame);
    mm.exit();
    expect(pages.held).toBe(0);
  });

  test('a page under DMA stays with the parent: the child gets a copy at once', () => {
    const machine = new TestProcesses();
    const { mm, pages } = machine;
    const start = mm.map({ pages: 2 });
    machine.setByte(start, 5);
    const pinned = new Float64Array(1);
    pinUserPages(mm, start, 1, FOLL_WRITE, pinned);
    const child = forkAddressSpace(mm, 'child')!;
    expect(child.table.pageOf(start)).not.toBe(pinned[0]);
    machine.setByte(start, 6);
    expect(mm.table.pageOf(start)).toBe(pinned[0]);
    expect(machine.byte(start, child)).toBe(5);
    unpinUserPages(pages, pinned, 1, true);
  });

  test('huge entries are shared whole, unless a pin lies inside', () => {
    const machine = new TestProcesses();
    const { mm } = machine;
    const start = mm.map({ pages: 512, hugePages: true });
    machine.setByte(start + 9, 9);
    const child = forkAddressSpace(mm, 'child')!;
    expect(child.table.isHuge(start)).toBe(true);
    machine.setByte(start + 9, 10);
    expect([machine.byte(start + 9, child), machine.byte(start + 10)]).toEqual([9, 0]);
    child.exit();
    mm.exit();
    expect(machine.pages.held).toBe(0);
  });
});

describe('pages that move (mm/migrate.c)', () => {
  test('a migrated page has another frame and the same bytes; a fault meanwhile waits for it', () => {
    const machine = new TestProcesses();
    const { mm } = machine;
    const start = mm.map({ pages: 1 });
    machine.setByte(start, 77);
    const before = mm.table.pageOf(start);
    expect(typeof beginMigration(mm, start)).toBe('object');
    expect(machine.byte(start)).toBe(77);
    expect(mm.table.pageOf(start)).not.toBe(before);
    expect(mm.migrations.size).toBe(0);
  });

  test('write protection that comes while the page is under way holds when it arrives', () => {
    const machine = new TestProcesses();
    const { mm } = machine;
    const start = mm.map({ pages: 1 });
    machine.setByte(start, 1);
    const migration = beginMigration(mm, start);
    mm.protect(start, 1, { writable: false });
    if (typeof migration === 'object') migration.finish();
    expect(machine.setByte(start, 2)).toBe(EFAULT);
    expect(machine.byte(start)).toBe(1);
  });

  test('unmapped while under way, nothing is left of it', () => {
    const machine = new TestProcesses();
    const start = machine.mm.map({ pages: 1 });
    machine.setByte(start, 1);
    const migration = beginMigration(machine.mm, start);
    machine.mm.unmap(start, 1);
    if (typeof migration === 'object') migration.finish();
    expect(machine.pages.held).toBe(0);
    expect(machine.mm.table.size).toBe(0);
  });

  test('a pinned page stays, and so does one that others hold', () => {
    const machine = new TestProcesses();
    const { mm, pages } = machine;
    const start = mm.map({ pages: 2 });
    machine.setByte(start, 1);
    const pinned = new Float64Array(1);
    pinUserPages(mm, start, 1, FOLL_WRITE, pinned);
    expect(migratePage(mm, start)).toBe(EAGAIN);
    expect(movePageToPeer(mm, start, PEER_PAGE)).toBe(EAGAIN);
    unpinUserPages(pages, pinned, 1, false);
    expect(migratePage(mm, start)).toBe(0);
    expect(migratePage(mm, start + 1)).toBe(EFAULT);
  });

  test("a page goes to a peer's memory and back with its bytes", () => {
    const machine = new TestProcesses();
    const { mm, pages } = machine;
    const start = mm.map({ pages: 1 });
    machine.setByte(start, 33);
    expect(movePageToPeer(mm, start, PEER_PAGE + 9)).toBe(0);
    expect(mm.table.pageOf(start)).toBe(PEER_PAGE + 9);
    expect(machine.memory.readWord(PEER_PAGE + 9, 0)).toBe(33);
    machine.setByte(start, 34);
    expect(movePageToRam(mm, start)).toBe(0);
    expect(machine.kinds.kindOf(mm.table.pageOf(start))).toBe('ram');
    expect(machine.byte(start)).toBe(34);
    expect(movePageToPeer(mm, start, 5)).toBe(EINVAL);
    mm.exit();
    expect(pages.held).toBe(0);
  });
});

test('mirrors are told before entries change, once for each change, and of the end of the process', () => {
  const machine = new TestProcesses();
  const { mm } = machine;
  const start = mm.map({ pages: 4 });
  for (let page = start; page < start + 4; page += 1) machine.setByte(page, 1);
  const heard: string[] = [];
  const notifier = machine.notify(start, 4, (range, sequence) => {
    heard.push(`${range.event} ${String(mm.table.flagsOf(start + 1) !== 0)}`);
    notifier.setSequence(sequence);
    return range.event !== 'clear' || range.blockable;
  });
  mm.protect(start, 1, { writable: false });
  migratePage(mm, start + 1);
  movePageToPeer(mm, start + 2, PEER_PAGE);
  expect(mm.discard(start, 4, false)).toBe(EAGAIN);
  expect(machine.byte(start + 1)).toBe(1);
  mm.unmap(start + 1, 1);
  mm.exit();
  expect(heard).toEqual([
    'protection_vma true',
    'clear true',
    'migrate true',
    'clear true',
    'unmap true',
    'release false',
  ]);
});
