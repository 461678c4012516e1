/** The memory of an on-demand region: what is asked, what is refused, and what holds when the mutex is held (drivers/infiniband/core/umem_odp.c). */
import { describe, expect, test } from 'vitest';
import { TestMachine } from '../../dma/testMachine.ts';
import { AddressSpace } from '../../memory/addressSpace.ts';
import { EAGAIN, EFAULT, EINVAL } from '../../memory/memoryErrors.ts';
import { UserPages } from '../../memory/userPages.ts';
import { createPageScheme } from '../../schemes/pages/pageSchemes.ts';
import { UmemOdp, type OdpWalk } from './umemOdp.ts';

const PAGE = 4096;
const HUGE = 512;

function region(pages: number, options: { pageShift?: number; hugePages?: boolean } = {}) {
  const { pageShift = 12, hugePages = false } = options;
  const { memory, frames, api, device, cpu } = new TestMachine({ traced: false });
  const mm = new AddressSpace({ pages: new UserPages(memory, frames, null) });
  const start = mm.map({ pages, hugePages });
  const scheme = createPageScheme('two_step_per_page', api, device, 'test');
  const umem = UmemOdp.get(cpu, { mm, start, pages, writable: true, scheme, pageShift }, (_range, sequence) => {
    if (typeof umem !== 'number') umem.setSequence(sequence);
    return true;
  });
  if (typeof umem === 'number') throw new Error('the region is refused');
  const begin = (address: number, bytes: number): OdpWalk | number =>
    umem.begin(cpu, { address: start * PAGE + address, bytes, write: true, fault: true });
  const walkOf = (address: number, bytes: number): OdpWalk => {
    const walk = begin(address, bytes);
    if (typeof walk === 'number') throw new Error(`refused: ${walk}`);
    return walk;
  };
  return { umem, mm, start, cpu, begin, walkOf, scheme };
}

describe('ib_umem_odp_map_dma_and_lock', () => {
  test('answers with the pages, and with the mutex held', () => {
    const { umem, cpu, walkOf, start, scheme, mm } = region(8);
    const walk = walkOf(PAGE + 100, PAGE);
    expect([walk.firstPage - start, walk.pages]).toEqual([1, 2]);
    expect(umem.read(cpu, walk)).toBe(0);
    expect([umem.lockIfCurrent(walk), umem.locked]).toEqual([2, true]);
    expect(scheme.pfns.pages[2]).toBe(mm.table.pageOf(start + 2));
    expect(() => {
      umem.lock();
    }).toThrow(/taken twice/u);
    umem.unlock();
  });

  test('begins again when the pages have changed in between, without the mutex, and the list is as it was', () => {
    const { umem, cpu, walkOf, start, scheme, mm } = region(8);
    const walk = walkOf(0, PAGE);
    expect(umem.read(cpu, walk)).toBe(0);
    mm.discard(start, 1);
    expect([umem.lockIfCurrent(walk), umem.locked, scheme.pfns.flags[0]]).toEqual([EAGAIN, false, 0]);
    expect([umem.read(cpu, walk), umem.lockIfCurrent(walk)]).toEqual([0, 1]);
    umem.unlock();
  });

  test('waits while its pages are changing', () => {
    const { umem, cpu, walkOf, start, mm } = region(8);
    const walk = walkOf(0, PAGE);
    mm.notifiers.invalidateRangeStart({ start, end: start + 1, event: 'clear', blockable: true });
    expect(umem.read(cpu, walk)).toBe(EAGAIN);
    mm.notifiers.invalidateRangeEnd();
    expect(umem.read(cpu, walk)).toBe(0);
  });

  test('refuses bytes outside, and a process that has ended, also between the halves', () => {
    const { umem, cpu, begin, walkOf, mm } = region(8);
    expect([begin(-1, 1), begin(7 * PAGE, PAGE + 1), begin(8 * PAGE, 1)]).toEqual([EFAULT, EFAULT, EFAULT]);
    const walk = walkOf(0, PAGE);
    mm.exit();
    expect([umem.read(cpu, walk), begin(0, PAGE)]).toEqual([EINVAL, EINVAL]);
  });

  test('entries of 2 MiB: rounded to whole ones, and refused where the process maps less at once', () => {
    for (const hugePages of [true, false]) {
      const { umem, cpu, walkOf, mm, start } = region(2 * HUGE, { pageShift: 21, hugePages });
      const walk = walkOf((HUGE - (start % HUGE)) * PAGE + 5, 1);
      expect([walk.firstPage % HUGE, walk.pages]).toEqual([0, HUGE]);
      expect(umem.read(cpu, walk)).toBe(0);
      expect(mm.table.isHuge(walk.firstPage)).toBe(hugePages);
      expect([umem.lockIfCurrent(walk), umem.locked]).toEqual(hugePages ? [HUGE, true] : [EINVAL, false]);
    }
  });
});
