import { describe, expect, it } from 'vitest';
import { fandsSeries } from './fands.ts';
import { FandsMachine, type ReceiveFigures, type ReceiveMode } from './fandsMachine.ts';
import { fandsReference, readReferenceFile } from './referenceFile.ts';
import { judgeSeries, reproduction } from './report.ts';

function figures(flows: number, ring: number, mode: ReceiveMode): ReceiveFigures {
  return new FandsMachine(flows, ring, mode).measure(8_000 + 16 * ring, 12_000);
}

/** Frames that are free, or would be but for page tables, which stay. */
function pagesLeft({ frames, counters }: FandsMachine): number {
  return frames.freePages + counters.get('tablePagesAllocated') - counters.get('tablePagesFreed');
}

describe("F&S (SOSP'24)", () => {
  const strict = figures(5, 256, 'strict');

  it('misses every level when invalidations carry no hint, rarely with one flow a core', () => {
    expect(strict.l1).toBeGreaterThan(0.01);
    expect(strict.l1).toBeLessThan(0.1);
    expect(strict.l2).toBeGreaterThanOrEqual(strict.l1);
    expect(strict.l3).toBeGreaterThan(3 * strict.l2);
    expect(strict.iotlb).toBeGreaterThan(1);
  });

  it('unmaps nearly every page, and misses more of everything, once applications share cores', () => {
    const shared = figures(40, 256, 'strict');
    expect(strict.unmaps).toBeLessThan(0.2);
    expect(shared.unmaps).toBeGreaterThan(0.6);
    expect(shared.l1).toBeGreaterThan(4 * strict.l1);
    expect(shared.iotlb).toBeGreaterThan(strict.iotlb + 0.4);
    expect(shared.gbps).toBeLessThan(0.65 * strict.gbps);
  });

  it('misses more tables with larger rings, and nothing else', () => {
    const large = figures(5, 2048, 'strict');
    expect(large.l3).toBeGreaterThan(strict.l3 + 0.3);
    expect(Math.abs(large.iotlb - strict.iotlb)).toBeLessThan(0.15);
    expect(large.gbps).toBeLessThan(strict.gbps);
  });

  it('misses no table above the lowest with the hint, and few of those with one range for a descriptor', () => {
    for (const flows of [5, 40]) {
      const remedy = figures(flows, 256, 'fands');
      expect(remedy.l1).toBeLessThan(0.01);
      expect(remedy.l2).toBeLessThan(0.01);
      expect(remedy.l3).toBeGreaterThan(0.025);
      expect(remedy.l3).toBeLessThan(0.06);
      expect(remedy.gbps).toBeGreaterThan(95);
      expect(remedy.drops).toBeLessThan(0.001);
    }
  });

  it('differs from host to host by chance alone', () => {
    const measured = [1, 2].map((seed) => new FandsMachine(5, 256, 'strict', seed).measure(12_000, 12_000));
    expect(measured[0]).not.toEqual(measured[1]);
    expect(Math.abs(measured[0]!.iotlb - measured[1]!.iotlb)).toBeLessThan(0.1);
  });

  it('gives back every page and every mapping', () => {
    for (const mode of ['strict', 'fands'] as const) {
      const idle = new FandsMachine(10, 256, mode);
      idle.close();
      const busy = new FandsMachine(10, 256, mode);
      busy.receive(3_000);
      busy.close();
      expect(busy.nic.refused).toBe(0);
      expect(pagesLeft(busy)).toBe(pagesLeft(idle));
      if (mode === 'strict') expect(busy.counters.get('iommuUnmaps')).toBe(busy.counters.get('iommuMaps'));
    }
  });

  it('is the same every time', () => {
    const once = new FandsMachine(10, 256, 'strict').measure(1_000, 2_000);
    expect(new FandsMachine(10, 256, 'strict').measure(1_000, 2_000)).toEqual(once);
  });
});

describe('what is compared of F&S', () => {
  const NOTHING: ReceiveFigures = {
    iotlb: 1.3,
    l1: 0,
    l2: 0,
    l3: 0.04,
    gbps: 90,
    acknowledgements: 0,
    unmaps: 0,
    drops: 0,
  };
  const broken = (remedy: Partial<ReceiveFigures>): number => {
    const series = [...fandsSeries('flows', { x: [5] }, () => ({ ...NOTHING, ...remedy }))];
    return reproduction('fands', series.map(judgeSeries)).brokenConditions;
  };

  it('fails when a miss of the remedy is out of its bounds', () => {
    expect(broken({})).toBe(0);
    expect(broken({ l3: 0.0296 })).toBe(1);
    expect(broken({ l3: 0.061 })).toBe(1);
    expect(broken({ l1: 0.02, l2: 0.02 })).toBe(2);
  });

  it('is what the file has, and a machine is only asked for what is compared', () => {
    const modes = new Set<ReceiveMode>();
    const names = [
      ...fandsSeries('ring', { x: [512], fands_gbps: [90], iommu_off_gbps: [97] }, (_, mode) => {
        modes.add(mode);
        return NOTHING;
      }),
    ].map(({ name, counted }) => `${name}${counted ? '' : ' aside'}`);
    expect(names).toEqual([
      'ring fands_gbps aside',
      'ring fands l1',
      'ring fands l2',
      'ring fands l3 >0.03',
      'ring fands l3 <0.06',
    ]);
    expect([...modes]).toEqual(['fands']);
  });

  it('asks for the least of tables where every core has a flow', () => {
    const series = [...fandsSeries('flows', { x: [1, 4, 5] }, () => NOTHING)].map(judgeSeries);
    const least = series.find(({ name }) => name === 'flows fands l3 >0.03');
    expect(least?.points.map(({ x }) => x)).toEqual(['5']);
  });

  it('refuses rings that the adapter cannot have', () => {
    const file = readReferenceFile('a.json', '{"fands_sosp24":{"ring":{"x":[256,65536]}}}');
    expect(() => fandsReference(file)).toThrow(/fands_sosp24\.ring\.x\[1\]: .* 8192 packets at most/);
  });
});
