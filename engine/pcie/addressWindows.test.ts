/**
 * Base address registers and windows (PCI Express Base Specification 7.5.1.2.1, 7.5.1.3.8, 7.5.1.3.9), on random fabrics against the
 * rules as they stand: nothing overlaps, all is aligned and within every window above it, and an address is claimed by one only.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RandomStream } from '../time/random.ts';
import { AddressWindows, memoryWindowRegisters, type Bar, type HostBridgeApertures } from './addressWindows.ts';
import { BaseAddressRegister, sizeByWritingOnes } from './baseAddressRegister.ts';
import { PortTree, type HostBridge, type PortNode } from './portTree.ts';
import { randomFabric } from './testFabrics.ts';

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const HOST: HostBridge = { name: 'pci0000:00', identity: null };

function lengthOf({ register, slices }: Bar): number {
  return register.options.size * slices;
}

describe('a base address register', () => {
  test('tells its size when ones are written, and keeps its flags and address', () => {
    const exponent = fc.integer({ min: 7, max: 40 });
    fc.assert(
      fc.property(exponent, fc.boolean(), fc.nat(200), (power, prefetchable, multiple) => {
        const size = 2 ** power;
        const bits = power > 31 ? 64 : 32;
        const register = new BaseAddressRegister('x', { index: 0, size, bits, prefetchable });
        const address = (multiple * size) % (bits === 64 ? 2 ** 52 : 2 ** 32);
        register.place(address);
        expect(register.address).toBe(address);
        expect(sizeByWritingOnes(register)).toBe(size);
        expect(register.address).toBe(address);
        expect(register.read(false) & 0xf).toBe((bits === 64 ? 4 : 0) | (prefetchable ? 8 : 0));
      }),
      { seed: 5, numRuns: 300 },
    );
  });

  test('decodes no bit below its size: an address that is not aligned is cut', () => {
    const register = new BaseAddressRegister('x', { index: 0, size: 0x10000, bits: 64, prefetchable: true });
    register.place(0x12_3456_7fff);
    expect(register.address).toBe(0x12_3456_0000);
  });

  test.each([
    [96, 32, 'power of two'],
    [64, 64, 'power of two'],
    [2 ** 32, 32, '64 bits'],
  ] as const)('of %i bytes in %i bits is refused with a remedy', (size, bits, text) => {
    expect(() => new BaseAddressRegister('0000:01:00.0', { index: 2, size, bits, prefetchable: false })).toThrow(text);
  });
});

/** Claims of the nodes on one bus, straight from registers and windows. */
function claims(
  windows: AddressWindows,
  bars: readonly Bar[],
  nodes: readonly PortNode[],
  address: number,
): PortNode[] {
  return nodes.filter((node) => {
    const own = bars.some(
      (bar) => bar.owner === node && address >= bar.register.address && address < bar.register.address + lengthOf(bar),
    );
    const { memory, prefetchable } = windows.windowsOf(node);
    return (
      own || [memory, prefetchable].some((range) => range !== null && address >= range.start && address <= range.end)
    );
  });
}

/** Goes down from the root bus by claims alone; every bus must have one claimant at most. */
function routeDown(tree: PortTree, windows: AddressWindows, bars: readonly Bar[], address: number): PortNode | null {
  let nodes = tree.functions.filter((node) => node.upstream === null);
  for (;;) {
    const found = claims(windows, bars, nodes, address);
    expect(found.length).toBeLessThanOrEqual(1);
    const [node] = found;
    if (node === undefined) return null;
    if (bars.some((bar) => bar.owner === node && windows.find(address)?.bar === bar)) return node;
    nodes = tree.functions.filter((child) => child.upstream === node);
  }
}

describe('random fabrics', () => {
  test('place every register where all bridges above lead, and nothing else', () => {
    const random = new RandomStream(77).fork('windows');
    let high = 0;
    for (let draw = 0; draw < 150; draw += 1) {
      const { tree, endpoints } = randomFabric(random);
      const windows = new AddressWindows(tree);
      const bars: Bar[] = [];
      for (const owner of endpoints) {
        for (let index = 0; index < 1 + random.below(3); index += 1) {
          const bits = random.below(2) === 0 ? 32 : 64;
          const prefetchable = random.below(2) === 0;
          const size = 2 ** (7 + random.below(bits === 64 && prefetchable ? 27 : 17));
          const slices = random.below(4) === 0 ? 1 + random.below(20) : 1;
          bars.push(windows.addBar(owner, { index: 2 * index, size, bits, prefetchable }, slices));
        }
      }
      const bridges = new Map<HostBridge, HostBridgeApertures>();
      for (const { hostBridge } of tree.functions) {
        if (bridges.has(hostBridge)) continue;
        const at = bridges.size;
        const below4G = at === 0 ? { start: 2 * GIB, end: 0xfe00_0000 - 1 } : { start: 0xfe00_0000, end: 2 ** 32 - 1 };
        bridges.set(hostBridge, { below4G, above4G: { start: (at + 1) * 2 ** 42, end: (at + 2) * 2 ** 42 - 1 } });
      }
      try {
        windows.assign(bridges);
      } catch (error) {
        // the second host bridge has little room below 4 GiB
        expect(String(error)).toContain('below 4 GiB');
        continue;
      }
      const ranges = bars.map((bar) => ({
        bar,
        start: bar.register.address,
        end: bar.register.address + lengthOf(bar) - 1,
      }));
      ranges.sort((one, other) => one.start - other.start);
      for (const [index, { bar, start, end }] of ranges.entries()) {
        expect(start % bar.register.options.size).toBe(0);
        expect(start).toBeGreaterThan(ranges[index - 1]?.end ?? -1);
        expect(end < 0xfee0_0000 || start > 0xfeef_ffff).toBe(true);
        const { bits, prefetchable } = bar.register.options;
        if (bits === 32 || (!prefetchable && bar.owner.upstream !== null)) expect(end).toBeLessThan(2 ** 32);
        else high += 1;
        for (let above = bar.owner.upstream; above !== null; above = above.upstream) {
          const { memory, prefetchable: second } = windows.windowsOf(above);
          const holds = [memory, second].filter((range) => range !== null && range.start <= start && range.end >= end);
          expect(holds).toHaveLength(1);
        }
        for (const address of [start, end, start + random.below(Math.min(end - start + 1, 2 ** 30))]) {
          expect(windows.find(address)?.bar).toBe(bar);
          expect(routeDown(tree, windows, bars, address)).toBe(bar.owner);
        }
        for (const address of [start - 1, end + 1]) {
          const naive = ranges.find((range) => range.start <= address && address <= range.end);
          expect(windows.find(address)?.bar).toBe(naive?.bar);
        }
      }
      for (const node of tree.functions) {
        for (const range of Object.values(windows.windowsOf(node)) as ({ start: number; end: number } | null)[]) {
          if (range !== null) expect([range.start % MIB, (range.end + 1) % MIB]).toEqual([0, 0]);
        }
      }
    }
    expect(high).toBeGreaterThan(100);
  });
});

describe('a host bridge', () => {
  function twoCards(): { tree: PortTree; windows: AddressWindows; one: PortNode; two: PortNode; port: PortNode } {
    const tree = new PortTree();
    const port = tree.addToRoot(HOST, 'root_port', 0x08);
    const other = tree.addToRoot(HOST, 'root_port', 0x10);
    const one = tree.addBelow(port, 'endpoint', 0x100);
    const two = tree.addBelow(other, 'endpoint', 0x200);
    return { tree, windows: new AddressWindows(tree), one, two, port };
  }

  test('places the most strictly aligned first, and small memory in what is left', () => {
    const { windows, one, two, port } = twoCards();
    const small = windows.addBar(one, { index: 0, size: 0x4000, bits: 32, prefetchable: false });
    const large = windows.addBar(two, { index: 0, size: 64 * MIB, bits: 32, prefetchable: false });
    windows.assign(new Map([[HOST, { below4G: { start: 0xc000_0000, end: 0xdfff_ffff }, above4G: null }]]));
    expect(large.register.address).toBe(0xc000_0000);
    expect(small.register.address).toBe(0xc400_0000);
    expect(memoryWindowRegisters(windows.windowsOf(port).memory)).toEqual({ base: 0xc400, limit: 0xc400 });
    expect(memoryWindowRegisters(windows.windowsOf(port).prefetchable)).toEqual({ base: 0xfff0, limit: 0 });
  });

  test('keeps the interrupt window free, however little else there is', () => {
    const { windows, one, two } = twoCards();
    const first = windows.addBar(one, { index: 0, size: 2 * MIB, bits: 32, prefetchable: false });
    const second = windows.addBar(two, { index: 0, size: MIB, bits: 32, prefetchable: false });
    windows.assign(new Map([[HOST, { below4G: { start: 0xfec0_0000, end: 0xfeff_ffff }, above4G: null }]]));
    expect([first.register.address, second.register.address]).toEqual([0xfec0_0000, 0xfef0_0000]);
  });

  test('says what does not fit, where, and what to do', () => {
    const { windows, one } = twoCards();
    windows.addBar(one, { index: 0, size: 512 * MIB, bits: 32, prefetchable: true });
    const below4G = { start: 0xe000_0000, end: 0xefff_ffff };
    expect(() => windows.assign(new Map([[HOST, { below4G, above4G: null }]]))).toThrow(
      '0000:00:01.0: no room for 512 MiB of memory below 4 GiB: pci0000:00 has 256 MiB there. Use prefetchable memory of 64 bits',
    );
  });

  test('shares no address with another', () => {
    const { windows } = twoCards();
    const far: HostBridge = { name: 'pci0000:80', identity: null };
    const below4G = { start: 0xe000_0000, end: 0xefff_ffff };
    const apertures = { below4G, above4G: null };
    expect(() =>
      windows.assign(
        new Map([
          [HOST, apertures],
          [far, apertures],
        ]),
      ),
    ).toThrow('overlap those of');
  });

  test('gives virtual functions a slice each of one register', () => {
    const { windows, one } = twoCards();
    const bar = windows.addBar(one, { index: 0, size: 0x4000, bits: 64, prefetchable: true }, 7);
    windows.assign(new Map([[HOST, { below4G: { start: 0xe000_0000, end: 0xefff_ffff }, above4G: null }]]));
    expect(windows.find(bar.register.address + 3 * 0x4000 + 5)).toEqual({ bar, slice: 3, offset: 5 });
    expect(windows.find(bar.register.address + 7 * 0x4000)).toBeNull();
  });
});
