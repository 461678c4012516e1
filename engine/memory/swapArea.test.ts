/** Pages that go to the swap area and come back (Linux mm/vmscan.c, mm/memory.c `do_swap_page`). */
import { describe, expect, test } from 'vitest';
import { HMM_PFN_VALID, HMM_PFN_WRITE, HmmPfnList } from './hmmPfn.ts';
import { HMM_PFN_REQ_FAULT, hmmRangeFault } from './hmmRangeFault.ts';
import { EAGAIN, EFAULT, EINVAL } from './memoryErrors.ts';
import { forkAddressSpace, movePageToPeer } from './pageMovement.ts';
import { swapOut } from './swapArea.ts';
import { PEER_PAGE, TestProcesses } from './testProcess.ts';

function swapped() {
  const processes = new TestProcesses();
  const { mm } = processes;
  const page = mm.map({ pages: 4 });
  processes.setByte(page, 42);
  const free = processes.frames.freePages;
  expect(swapOut(mm, page)).toBe(0);
  return { processes, mm, page, free };
}

describe('a page in the swap area', () => {
  test('gives its frame back, and what it held comes back with the next access', () => {
    const { processes, mm, page, free } = swapped();
    expect([processes.frames.freePages, mm.swap.used, mm.pages.held]).toEqual([free + 1, 1, 0]);
    const { faults } = mm;
    expect(processes.byte(page)).toBe(42);
    expect([mm.faults - faults, mm.majorFaults, mm.swap.used]).toEqual([1, 1, 0]);
    expect(processes.setByte(page, 7)).toBe(0);
    expect(processes.byte(page)).toBe(7);
  });

  test('goes with its area', () => {
    for (const go of ['unmap', 'discard', 'exit'] as const) {
      const { processes, mm, page } = swapped();
      if (go === 'unmap') mm.unmap(page, 4);
      else if (go === 'discard') mm.discard(page, 4);
      else mm.exit();
      expect([mm.swap.used, mm.table.size]).toEqual([0, 0]);
      if (go === 'discard') expect(processes.byte(page)).toBe(0);
    }
  });

  test('comes back before a child shares it, and before it moves', () => {
    const { processes, mm, page } = swapped();
    const child = forkAddressSpace(mm, 'child')!;
    expect([processes.byte(page, child), processes.byte(page), mm.swap.used]).toEqual([42, 42, 0]);
    child.exit();
    expect(swapOut(mm, page)).toBe(0);
    expect(movePageToPeer(mm, page, PEER_PAGE)).toBe(0);
    expect(processes.byte(page)).toBe(42);
  });

  test('is absent for a snapshot, and read by a fault (hmm_vma_handle_pte)', () => {
    const { processes, mm, page } = swapped();
    const notifier = processes.notify(page, 4, () => true);
    const pfns = new HmmPfnList(4);
    const look = (defaultFlags: number): number =>
      hmmRangeFault({
        mm,
        notifier,
        notifierSequence: notifier.readBegin(),
        start: page,
        end: page + 1,
        pfns,
        defaultFlags,
        pfnFlagsMask: 0,
      });
    expect([look(0), pfns.flags[0], mm.swap.used]).toEqual([0, 0, 1]);
    expect([look(HMM_PFN_REQ_FAULT), pfns.flags[0], mm.swap.used]).toEqual([0, HMM_PFN_VALID | HMM_PFN_WRITE, 0]);
    expect(pfns.pages[0]).toBe(mm.table.pageOf(page));
  });

  test('keeps what a mirror still writes before it lets go', () => {
    const processes = new TestProcesses();
    const { mm, memory } = processes;
    const page = mm.map({ pages: 1 });
    processes.setByte(page, 1);
    processes.notify(page, 1, () => {
      memory.writeBytes(mm.table.pageOf(page) * 4096, Uint8Array.of(9), 0, 1);
      return true;
    });
    expect(swapOut(mm, page)).toBe(0);
    expect(processes.byte(page)).toBe(9);
  });
});

test('pages that are absent, the zero page, a peer’s, and pages that others hold stay where they are', () => {
  const processes = new TestProcesses();
  const { mm } = processes;
  const page = mm.map({ pages: 4 });
  expect(swapOut(mm, page)).toBe(EFAULT);
  processes.byte(page);
  expect(swapOut(mm, page)).toBe(EINVAL);
  processes.setByte(page + 1, 1);
  movePageToPeer(mm, page + 1, PEER_PAGE);
  expect(swapOut(mm, page + 1)).toBe(EINVAL);
  processes.setByte(page + 2, 1);
  mm.pages.pin(mm.table.pageOf(page + 2));
  expect(swapOut(mm, page + 2)).toBe(EAGAIN);
});
