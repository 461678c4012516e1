/** The emulated host of pcie-bench (SIGCOMM'18): the three figures that it is set up from come out of its own latency curve. */
import { describe, expect, it } from 'vitest';
import { RandomStream } from '../../time/random.ts';
import { pcieBenchSystems, reproducePcieBench } from './pcieBench.ts';
import { PcieBenchHost } from './pcieBenchHost.ts';
import { PUBLISHED_CURVES, readReferenceFile, type MeasuredFit, type ReferenceFile } from './referenceFile.ts';
import { judgeSeries, type JudgedSeries } from './report.ts';

const PAGE = 4096;

function latency(fit: MeasuredFit, pages: number): number {
  const host = new PcieBenchHost(fit);
  host.openWindow(pages * PAGE);
  const next = host.randomPlaces(8, pages * PAGE, new RandomStream(7).fork(String(pages)));
  host.card.readLatency('command', 8, 3000, next);
  return host.card.readLatency('command', 8, 20_000, next) / 1000;
}

describe('a host from b, m and K', () => {
  // hosts of both classes, and one that nobody measured
  it.each([
    { b: 412, m: 228, K: 119 },
    { b: 423, m: 299, K: 126 },
    { b: 500, m: 180, K: 64 },
  ])('gives them back: $b ns, $m ns, $K entries', (fit) => {
    const base = latency(fit, 16);
    expect(base).toBeCloseTo(fit.b, 0);
    // mean = b + m (1 - K / N) at two sizes of the window
    const [few, many] = [512, 2048].map((pages) => ({ pages, over: latency(fit, pages) - base }));
    const ratio = few!.over / many!.over;
    const entries = (few!.pages * (1 - ratio)) / (1 - (ratio * few!.pages) / many!.pages);
    expect(Math.abs(entries - fit.K)).toBeLessThanOrEqual(3);
    const miss = many!.over / (1 - fit.K / many!.pages);
    expect(Math.abs(miss - fit.m) / fit.m).toBeLessThan(0.02);
  });

  // The published hosts' misses are longer than a walk takes the way to memory; one that is faster is set up from its m all the same.
  it.each([0, 10, 30, 50])('takes a miss of %i ns for what it is', (m) => {
    const fit = { b: 420, m, K: 64 };
    const pages = 2048;
    const step = latency(fit, pages) - latency(fit, 16);
    expect(Math.abs(step / (1 - fit.K / pages) - m)).toBeLessThan(2);
  });

  it('is refused where the base latency is less than the way itself takes', () => {
    expect(() => new PcieBenchHost({ b: 100, m: 200, K: 64 })).toThrow('b is 100 ns, less than');
  });
});

describe('pcie-bench', () => {
  function rerun(window: number, system: string): JudgedSeries[] {
    const systems = pcieBenchSystems(PUBLISHED_CURVES, system).map(({ curves, ...rest }) => ({
      ...rest,
      curves: Object.fromEntries(
        Object.entries(curves).map(([key, curve]) => [key, (curve ?? []).filter(([size]) => size === window)]),
      ),
    }));
    const judged: JudgedSeries[] = [];
    reproducePcieBench(systems, { system, onSeries: (series) => judged.push(judgeSeries(series)) });
    return judged;
  }

  it.each(['IVB', 'HSW'])('comes out on %s where half of the accesses miss', (system) => {
    const judged = rerun(1024 * 1024, system);
    expect(judged).toHaveLength(7);
    expect(Math.max(...judged.map(({ worst }) => worst))).toBeLessThan(0.1);
  });

  it('reports a system with a quirk without counting it', () => {
    expect(rerun(16_384, 'SNB').every(({ counted }) => !counted)).toBe(true);
  });

  function fileOf(fit: object): ReferenceFile {
    const systems = { A: { lat_cmd_rd8: [[PAGE, 400]] }, toString: { lat_cmd_rd8: [[PAGE, 400]] } };
    return readReferenceFile('a.json', JSON.stringify({ pcie_bench: { systems, fit } }));
  }

  it('says which fit is missing, of the systems that are asked for', () => {
    const fit = { b: 400, m: 200, K: 64 };
    expect(() => pcieBenchSystems(fileOf({}), null)).toThrow('a.json: pcie_bench.fit.A: this system has curves and no');
    expect(() => pcieBenchSystems(fileOf({ A: fit }), null)).toThrow('a.json: pcie_bench.fit.toString: this system');
    expect(pcieBenchSystems(fileOf({ A: fit }), 'A')).toHaveLength(1);
  });

  it('says which fit no host can have', () => {
    const fits = fileOf({ A: { b: 100, m: 200, K: 64 } });
    expect(() => pcieBenchSystems(fits, null)).toThrow('a.json: pcie_bench.fit.A.b: b is 100 ns, less than');
  });
});
