import { describe, expect, test } from 'vitest';
import { MappedFile } from './mappedFile.ts';
import { EFAULT, EINVAL, ENOMEM, EOPNOTSUPP, EREMOTEIO } from './memoryErrors.ts';
import { forkAddressSpace, movePageToPeer } from './pageMovement.ts';
import {
  chargePinnedPages,
  FOLL_LONGTERM,
  FOLL_PCI_P2PDMA,
  FOLL_STRICT,
  FOLL_WRITE,
  pinUserPages,
  unchargePinnedPages,
  unpinUserPages,
} from './pinUserPages.ts';
import { PEER_PAGE, TestProcesses } from './testProcess.ts';

describe('pin_user_pages (mm/gup.c)', () => {
  test('a batch is the pages that the process sees, and they outlive its mapping', () => {
    const machine = new TestProcesses();
    const { mm, pages } = machine;
    const start = mm.map({ pages: 6 });
    machine.setByte(start + 1, 8);
    const list = new Float64Array(10);
    expect(pinUserPages(mm, start, 6, FOLL_WRITE | FOLL_LONGTERM, list, 2)).toBe(6);
    expect([...list.subarray(2, 8)]).toEqual([0, 1, 2, 3, 4, 5].map((page) => mm.table.pageOf(start + page)));
    expect(pages.pinCount(list[3]!)).toBe(1);
    mm.exit();
    expect(machine.memory.readWord(list[3]!, 0)).toBe(8);
    expect(pages.held).toBe(6);
    const free = machine.frames.freePages;
    unpinUserPages(pages, list, 6, true, 2);
    expect(pages.held).toBe(0);
    expect(machine.frames.freePages).toBe(free + 6);
    expect(() => {
      unpinUserPages(pages, list, 1, true, 2);
    }).toThrow('more often');
  });

  test('it stops before the first page that cannot be had, and says why when that is the first', () => {
    const machine = new TestProcesses({ ramPages: 9 });
    const { mm } = machine;
    const start = mm.map({ pages: 3, at: 0x20_0000 });
    mm.map({ pages: 1, at: start + 3, kind: 'pfnmap', offset: 0x7000 });
    mm.map({ pages: 1, at: start + 4, writable: false });
    mm.map({ pages: 30, at: start + 10 });
    const list = new Float64Array(20);
    expect(pinUserPages(mm, start + 1, 5, FOLL_WRITE, list)).toBe(2);
    expect(pinUserPages(mm, start + 3, 1, 0, list)).toBe(EFAULT);
    expect(pinUserPages(mm, start + 4, 1, FOLL_WRITE, list)).toBe(EFAULT);
    expect(pinUserPages(mm, start + 4, 2, 0, list)).toBe(1);
    expect(pinUserPages(mm, start + 5, 1, 0, list)).toBe(EFAULT);
    expect(pinUserPages(mm, start + 10, 20, FOLL_WRITE, list)).toBe(5);
    expect(pinUserPages(mm, start + 15, 1, FOLL_WRITE, list)).toBe(ENOMEM);
    expect(pinUserPages(mm, start, 21, 0, list)).toBe(EINVAL);
  });

  test('a long pin for reading gets a page of its own, so that it sees what the process writes later', () => {
    const machine = new TestProcesses();
    const { mm, pages } = machine;
    const file = new MappedFile(pages);
    const anonymous = mm.map({ pages: 2 });
    const mapped = mm.map({ pages: 1, kind: 'file', file });
    machine.byte(anonymous);
    const list = new Float64Array(4);
    expect(pinUserPages(mm, anonymous, 2, FOLL_LONGTERM, list)).toBe(2);
    expect(pinUserPages(mm, mapped, 1, FOLL_LONGTERM, list, 2)).toBe(1);
    expect([...list.subarray(0, 2)]).not.toContain(pages.zeroPage);
    expect(list[2]).not.toBe(file.pageAt(0));
    for (const [index, page] of [anonymous, anonymous + 1, mapped].entries()) {
      machine.setByte(page, 50 + index);
      expect(machine.memory.readWord(list[index]!, 0)).toBe(50 + index);
    }
    expect(pinUserPages(mm, mm.map({ pages: 1 }), 1, 0, list, 3)).toBe(1);
    expect(list[3]).toBe(pages.zeroPage);
  });

  test('a short pin for reading of a page that a fork shares gets a page of its own too', () => {
    const machine = new TestProcesses();
    const { mm } = machine;
    const start = mm.map({ pages: 1 });
    machine.setByte(start, 3);
    const child = forkAddressSpace(mm, 'child')!;
    const list = new Float64Array(1);
    pinUserPages(child, start, 1, 0, list);
    expect(list[0]).not.toBe(mm.table.pageOf(start));
    expect(machine.memory.readWord(list[0]!, 0)).toBe(3);
    unpinUserPages(machine.pages, list, 1, false);
    expect(machine.byte(start)).toBe(3);
  });

  test("a peer's memory only on request, and never for the long term", () => {
    const machine = new TestProcesses();
    const { mm, pages } = machine;
    const start = mm.map({ pages: 2, kind: 'p2p', offset: PEER_PAGE });
    const list = new Float64Array(2);
    expect(pinUserPages(mm, start, 2, FOLL_WRITE, list)).toBe(EREMOTEIO);
    expect(pinUserPages(mm, start, 2, FOLL_WRITE | FOLL_LONGTERM, list)).toBe(EREMOTEIO);
    expect(pinUserPages(mm, start, 2, FOLL_LONGTERM | FOLL_PCI_P2PDMA, list)).toBe(EOPNOTSUPP);
    expect(pinUserPages(mm, start, 2, FOLL_WRITE | FOLL_PCI_P2PDMA, list)).toBe(2);
    expect([...list]).toEqual([PEER_PAGE, PEER_PAGE + 1]);
    mm.exit();
    unpinUserPages(pages, list, 2, true);
    expect(pages.held).toBe(0);
  });

  test('a hodgepodge comes whole, or up to each boundary with the variant that stops there', () => {
    const machine = new TestProcesses();
    const { mm } = machine;
    const start = mm.map({ pages: 6 });
    for (let page = start; page < start + 6; page += 1) machine.setByte(page, 1);
    movePageToPeer(mm, start + 2, PEER_PAGE);
    movePageToPeer(mm, start + 3, PEER_PAGE + 8);
    const list = new Float64Array(6);
    expect(pinUserPages(mm, start, 6, FOLL_WRITE | FOLL_PCI_P2PDMA, list)).toBe(6);
    unpinUserPages(machine.pages, list, 6, false);
    const lengths: number[] = [];
    for (let done = 0; done < 6; done += lengths.at(-1)!) {
      const strict = FOLL_WRITE | FOLL_PCI_P2PDMA | FOLL_STRICT;
      lengths.push(pinUserPages(mm, start + done, 6 - done, strict, list, done));
    }
    expect(lengths).toEqual([2, 2, 2]);
    expect([...list].map((page) => machine.kinds.kindOf(page))).toEqual(['ram', 'ram', 'p2p', 'p2p', 'ram', 'ram']);
    expect(machine.pages.pinned).toBe(6);
  });

  test('locked memory is charged up to the limit', () => {
    const { mm } = new TestProcesses({ lockedPagesLimit: 5 });
    expect(chargePinnedPages(mm, 4)).toBe(0);
    expect(chargePinnedPages(mm, 2)).toBe(ENOMEM);
    expect(chargePinnedPages(mm, 1)).toBe(0);
    unchargePinnedPages(mm, 5);
    expect(() => {
      unchargePinnedPages(mm, 1);
    }).toThrow('more locked pages');
  });
});
