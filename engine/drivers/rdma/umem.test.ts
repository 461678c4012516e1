/**
 * `ib_umem_get` (drivers/infiniband/core/umem.c): its errors in their order, its pins, and one region over any mixture of memory under every
 * mapping scheme. What a scheme cannot serve it refuses with the reason, and then nothing is held.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EFAULT, EINVAL, ENOMEM, EOPNOTSUPP, EPERM, EREMOTEIO } from '../../dma/errno.ts';
import { takeWork } from '../../dma/testMeter.ts';
import { SCHEME_NAMES, type SchemeName } from '../../schemes/scheme.ts';
import { createScheme } from '../../schemes/schemes.ts';
import { resolveRdmaCosts } from './rdmaCosts.ts';
import { patternOf, RegionMachine, type Kind, type RegionMachineOptions } from './testRegions.ts';
import {
  IB_ACCESS_LOCAL_WRITE,
  IB_ACCESS_ON_DEMAND,
  IB_ACCESS_REMOTE_READ,
  ibUmemGet,
  isRefusal,
  type RegionRefusal,
  type Umem,
  type UmemOptions,
} from './umem.ts';

const PAGE = 4096;
const COSTS = resolveRdmaCosts();

function get(
  machine: RegionMachine,
  start: number,
  pages: number,
  options: Partial<UmemOptions> & { name?: SchemeName } = {},
): Umem | RegionRefusal {
  const { name = 'map_sg', ...rest } = options;
  return ibUmemGet(machine.cpu, {
    mm: machine.mm,
    address: start * PAGE,
    length: pages * PAGE,
    access: IB_ACCESS_LOCAL_WRITE,
    scheme: createScheme(name, machine.api, machine.device, machine.api.profile, 'test'),
    costs: COSTS,
    ...rest,
  });
}

function taken(result: Umem | RegionRefusal): Umem {
  if (isRefusal(result)) throw new Error(result.reason);
  return result;
}

describe('errors', () => {
  const machine = new RegionMachine({ lockedPagesLimit: 8 });
  const start = machine.mapPages(Array.from({ length: 16 }, () => 'ram'));
  const before = machine.held();

  test.each([
    ['on demand', { access: IB_ACCESS_ON_DEMAND }, EOPNOTSUPP],
    ['past the end of addresses', { address: 2 ** 64 - 2 * PAGE, length: 4 * PAGE }, EINVAL],
    ['nothing', { length: 0 }, EINVAL],
    ['more than may be locked', { length: 9 * PAGE }, ENOMEM],
    ['one page too many by its offset', { address: start * PAGE + 4095, length: 8 * PAGE }, ENOMEM],
    ['not mapped', { address: (start + 14) * PAGE, length: 4 * PAGE }, EFAULT],
  ])('%s', (_name, options, error) => {
    const result = get(machine, start, 1, options);
    expect(isRefusal(result) && result.error).toBe(error);
    expect(isRefusal(result) && result.reason).not.toBe('');
    expect(machine.held()).toEqual(before);
  });

  test('a process that may lock nothing', () => {
    const poor = new RegionMachine({ lockedPagesLimit: 0 });
    const result = get(poor, poor.mapPages(['ram']), 1);
    expect(isRefusal(result) && result.error).toBe(EPERM);
  });

  test('a peer’s page, which the kernel takes from a dma-buf only', () => {
    const peers = new RegionMachine();
    const result = get(peers, peers.mapPages(['ram', 'far', 'ram']), 3);
    expect(isRefusal(result) && result.error).toBe(EREMOTEIO);
    expect(isRefusal(result) && result.reason).toMatch(/peer’s memory.*dma-buf/u);
    expect(peers.held()).toMatchObject({ pins: 0, lockedPages: 0 });
  });
});

describe('pins', () => {
  test('cost their CPU a batch of 512 pages at a time', () => {
    const machine = new RegionMachine({ device: { coherent: false } });
    const start = machine.mapPages(Array.from({ length: 1025 }, () => 'ram'));
    const time = (pages: number, rdmaPinBatch: number): number => {
      const began = machine.cpu.now;
      // a scheme that does not take this device, so that pinning is all that varies
      get(machine, start, pages, { costs: resolveRdmaCosts({ rdmaPinBatch }), name: 'iova_export' });
      return machine.cpu.now - began;
    };
    const batches = (pages: number): number => (time(pages, 1) - time(pages, 0)) / 1000;
    expect([1, 512, 513, 1024, 1025].map((pages) => batches(pages))).toEqual([1, 1, 2, 2, 3]);
  });

  test('hold every page and its charge until the region is released', () => {
    const machine = new RegionMachine();
    const umem = taken(get(machine, machine.mapPages(Array.from({ length: 600 }, () => 'ram')), 600));
    expect(machine.held()).toMatchObject({ pins: 600, lockedPages: 600 });
    umem.release(machine.cpu);
    expect(machine.held()).toMatchObject({ pins: 0, lockedPages: 0 });
  });

  test('stop at another provider’s page where that is asked, and the region says how far it goes', () => {
    const machine = new RegionMachine();
    const kinds: Kind[] = ['ram', 'ram', 'near', 'far', 'far', 'ram'];
    const start = machine.mapPages(kinds);
    const lengths: number[] = [];
    const regions: Umem[] = [];
    for (let done = 0; done < kinds.length;) {
      const options = { name: 'uniform_only', peersPages: true, oneProvider: true } as const;
      const umem = taken(get(machine, start + done, kinds.length - done, options));
      regions.push(umem);
      lengths.push(umem.length / PAGE);
      done += umem.length / PAGE;
    }
    expect(lengths).toEqual([2, 1, 2, 1]);
    expect(machine.held()).toMatchObject({ pins: 6, lockedPages: 6 });
    for (const region of regions) region.release(machine.cpu);
    expect(machine.held()).toMatchObject({ pins: 0, lockedPages: 0, iova: 0 });
  });
});

describe('one region over scattered pages', () => {
  test('is joined where pages follow each other, and keeps what section 20 counts', () => {
    const kinds: Kind[] = Array.from({ length: 256 }, (_, index) => (index % 2 === 0 ? 'ram' : 'far'));
    const bytes = (name: SchemeName): number => {
      const machine = new RegionMachine();
      const umem = taken(get(machine, machine.mapPages(kinds), 256, { name, peersPages: true }));
      return umem.bookkeepingBytes;
    };
    // 32 for each of 256 entries of the list; or the state of the range, and where the pages are for the way back
    expect({ list: bytes('map_sg'), range: bytes('two_step') }).toEqual({ list: 8192, range: 16 + 256 * 16 });
  });

  test('maps 1 MiB of RAM with one range, and unmaps it with one flush', () => {
    const machine = new RegionMachine();
    const start = machine.mapPages(Array.from({ length: 256 }, () => 'ram'));
    takeWork(machine);
    const umem = taken(get(machine, start, 256, { name: 'two_step' }));
    expect(takeWork(machine)).toMatchObject({ iovaAllocations: 1, syncs: 1, flushes: 0 });
    expect(umem.mapped.count).toBe(1);
    umem.release(machine.cpu);
    expect(takeWork(machine)).toMatchObject({ unmaps: 1, flushes: 1, iovaFrees: 1 });
  });
});

const MACHINES: readonly RegionMachineOptions[] = [
  { domain: 'strict' },
  { domain: 'lazy' },
  { domain: 'passthrough' },
  { domain: 'passthrough', limited: true },
  { domain: 'passthrough', limited: true, bounceSlots: 16 },
];

describe('any mixture of memory', () => {
  const kinds = fc.array(fc.constantFrom<Kind>('ram', 'ram', 'high', 'near', 'far'), { minLength: 1, maxLength: 40 });

  test.each(SCHEME_NAMES)('under %s is what the device sees; else there is a reason, and nothing stays', (name) => {
    let served = 0;
    let refused = 0;
    const property = fc.property(kinds, fc.constantFrom(...MACHINES), fc.boolean(), (chosen, options, mayBounce) => {
      const machine = new RegionMachine(options);
      const start = machine.mapPages(chosen);
      const before = machine.held();
      const result = get(machine, start, chosen.length, { name, peersPages: true, mayBounce, largestRun: 2 ** 18 });
      if (isRefusal(result)) {
        refused += 1;
        expect(result.reason).not.toBe('');
        const translates = options.domain !== 'passthrough';
        const excuses = [
          name === 'uniform_only' && new Set(chosen).size > 1,
          name === 'rfc_link_range' && chosen.some((kind) => kind === 'near' || kind === 'far'),
          !translates &&
            options.limited === true &&
            chosen.includes('high') &&
            (!mayBounce || options.bounceSlots === 16),
        ];
        expect({ chosen, name, options, excused: excuses.includes(true) }).toMatchObject({ excused: true });
      } else {
        served += 1;
        expect(machine.deviceBytes(result.mapped)).toEqual(patternOf(0, chosen.length * PAGE));
        result.release(machine.cpu);
      }
      expect(machine.held()).toEqual(before);
    });
    fc.assert(property, { numRuns: 15, seed: 23 });
    expect({ served: served > 0, refused: refused > 0 }).toEqual({ served: true, refused: true });
  });

  test.each(SCHEME_NAMES)('%s refuses a peer out of reach', (name) => {
    const machine = new RegionMachine();
    const start = machine.mapPages(['ram', 'alone', 'ram']);
    const before = machine.held();
    const result = get(machine, start, 3, { name, peersPages: true, access: IB_ACCESS_REMOTE_READ });
    expect(isRefusal(result)).toBe(true);
    expect(machine.held()).toEqual(before);
  });
});
