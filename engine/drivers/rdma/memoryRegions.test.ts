/**
 * Regions (drivers/infiniband/hw/mlx5/mr.c, umr.c) over an adapter that keeps its tables as bytes and fails wherever it is told to: the table
 * names every byte of any mixture of memory, and after each failure nothing is held.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EFAULT, EIO, ENOMEM } from '../../dma/errno.ts';
import { createScheme } from '../../schemes/schemes.ts';
import { MemoryRegions } from './memoryRegions.ts';
import { MrCache } from './mrCache.ts';
import { resolveRdmaCosts } from './rdmaCosts.ts';
import type { KeyContext, RegionAdapter } from './regionAdapter.ts';
import { patternOf, RegionMachine, type Kind } from './testRegions.ts';
import { IB_ACCESS_LOCAL_WRITE, isRefusal } from './umem.ts';

const PAGE = 4096;

class TableAdapter implements RegionAdapter {
  pageSizes: readonly number[] = [PAGE, 2 ** 16, 2 ** 21];
  readonly tables = new Map<number, Uint8Array>();
  readonly contexts = new Map<number, KeyContext>();
  /** Lengths of the work requests that wrote tables. */
  readonly writes: number[] = [];
  /** Calls that may fail from now on; the one after them fails. */
  failAfter = Infinity;
  private next = 1;

  createKey(_cpu: unknown, entries: number): number {
    if (this.fails()) return ENOMEM;
    this.tables.set(this.next, new Uint8Array(entries * 8));
    this.next += 1;
    return this.next - 1;
  }

  destroyKey(_cpu: unknown, key: number): void {
    this.tables.delete(key);
    this.contexts.delete(key);
  }

  writeTable(_cpu: unknown, key: number, firstEntry: number, bytes: Uint8Array, length: number): number {
    if (this.fails()) return EIO;
    this.writes.push(length);
    this.tables.get(key)!.set(bytes.subarray(0, length), firstEntry * 8);
    return 0;
  }

  setKey(_cpu: unknown, key: number, context: KeyContext | null): number {
    if (this.fails()) return EIO;
    if (context === null) this.contexts.delete(key);
    else this.contexts.set(key, context);
    return 0;
  }

  /** The device address behind one of the key's. */
  addressOf(key: number, at: number): number {
    const { iova, pageSize } = this.contexts.get(key)!;
    const entry = Math.floor(at / pageSize) - Math.floor(iova / pageSize);
    const view = new DataView(this.tables.get(key)!.buffer);
    const low = view.getUint32(entry * 8 + 4);
    expect(low & 3).toBe(3);
    return view.getUint32(entry * 8) * 2 ** 32 + low - 3 + (at % pageSize);
  }

  private fails(): boolean {
    this.failAfter -= 1;
    return this.failAfter === -1;
  }
}

function setUp(kinds: readonly Kind[], kept = 0) {
  const machine = new RegionMachine();
  const start = machine.mapPages(kinds);
  const adapter = new TableAdapter();
  const costs = resolveRdmaCosts();
  const cache = new MrCache(adapter, costs, kept);
  const regions = new MemoryRegions({ adapter, cache, costs });
  const schemeOf = () => createScheme('two_step', machine.api, machine.device, machine.api.profile, 'test');
  const request = (pages: number, offset = 0) => ({
    mm: machine.mm,
    address: start * PAGE + offset,
    length: pages * PAGE - offset,
    access: IB_ACCESS_LOCAL_WRITE,
    scheme: schemeOf(),
    peersPages: true,
  });
  return { machine, adapter, cache, regions, request, schemeOf };
}

const mixtures = fc.array(fc.constantFrom<Kind>('ram', 'near', 'far'), { minLength: 1, maxLength: 24 });

describe('a region', () => {
  test('of any mixture is one table that names every byte, or several regions where that is asked', () => {
    fc.assert(
      fc.property(mixtures, fc.constantFrom(0, 1, 4095), fc.boolean(), (kinds, offset, several) => {
        const { machine, adapter, regions, request, schemeOf } = setUp(kinds);
        const before = machine.held();
        const asked = request(kinds.length, offset);
        const one = several
          ? regions.registerPerProvider(machine.cpu, asked, schemeOf)
          : regions.register(machine.cpu, asked);
        if (isRefusal(one)) throw new Error(one.reason);
        const made = Array.isArray(one) ? one : [one];
        const expected = patternOf(offset, asked.length);
        let done = 0;
        for (const { key, context } of made) {
          for (let at = 0; at < context.length; at += 509) {
            const phys = machine.physOf(adapter.addressOf(key.key, context.iova + at));
            expect(machine.bytes(phys, 1)[0]).toBe(expected[done + at]);
          }
          done += context.length;
        }
        expect(done).toBe(asked.length);
        for (const region of made) regions.deregister(machine.cpu, region);
        expect(machine.held()).toEqual(before);
        expect(adapter.tables.size).toBe(0);
      }),
      { numRuns: 40, seed: 31 },
    );
  });

  test('that fails at any step leaves no pin, no IOVA and no key', () => {
    const kinds: Kind[] = ['ram', 'near', 'far', 'ram'];
    for (let failAfter = 0; failAfter < 3; failAfter += 1) {
      const { machine, adapter, regions, request } = setUp(kinds);
      const before = machine.held();
      adapter.failAfter = failAfter;
      const result = regions.register(machine.cpu, request(4));
      expect(isRefusal(result) && result.reason).toMatch(/failed at/u);
      expect({ held: machine.held(), keys: adapter.tables.size }).toEqual({ held: before, keys: 0 });
    }
  });

  test('leaves its key to one of half its size at least', () => {
    const { machine, adapter, cache, regions, request } = setUp(
      Array.from({ length: 64 }, () => 'ram'),
      4,
    );
    adapter.pageSizes = [PAGE];
    for (const pages of [64, 33, 32]) {
      const region = regions.register(machine.cpu, request(pages));
      if (isRefusal(region)) throw new Error(region.reason);
      regions.deregister(machine.cpu, region);
    }
    expect({ hits: cache.hits, misses: cache.misses, bytes: cache.bytes }).toEqual({
      hits: 1,
      misses: 2,
      bytes: (64 + 32) * 8,
    });
    expect(adapter.writes.every((length) => length % 64 === 0)).toBe(true);
    cache.clear(machine.cpu);
    expect(adapter.tables.size).toBe(0);
  });

  test('changes its memory under its key; refused, it keeps what it had, and failing halfway it is out of use', () => {
    const { machine, adapter, regions, request } = setUp(['ram', 'near', 'far', 'ram', 'ram', 'far']);
    const before = machine.held();
    const region = regions.register(machine.cpu, request(3));
    if (isRefusal(region)) throw new Error(region.reason);
    const missing = { ...request(3), address: 2 ** 44 };
    expect(regions.changeMemory(machine.cpu, region, missing)).toMatchObject({ error: EFAULT });
    expect(machine.held()).toMatchObject({ pins: 3, lockedPages: 3 });
    expect(regions.changeMemory(machine.cpu, region, request(6))).toBeNull();
    expect(machine.held()).toMatchObject({ pins: 6, lockedPages: 6 });
    adapter.failAfter = 1;
    expect(regions.changeMemory(machine.cpu, region, request(2))).toMatchObject({ error: EIO });
    expect({ usable: region.usable, on: adapter.contexts.size }).toEqual({ usable: false, on: 0 });
    regions.deregister(machine.cpu, region);
    expect({ held: machine.held(), keys: adapter.tables.size }).toEqual({ held: before, keys: 0 });
  });
});
