/** The emulated host of pcie-bench (SIGCOMM'18): the three figures that it is set up from come out of its own latency curve. */
import { describe, expect, it } from 'vitest';
import { RandomStream } from '../../time/random.ts';
import { reproducePcieBench } from './pcieBench.ts';
import { PcieBenchHost } from './pcieBenchHost.ts';
import { pcieBenchReference, PUBLISHED_CURVES, type MeasuredFit } from './referenceFile.ts';
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

  it('is refused where the base latency is less than the way itself takes', () => {
    expect(() => new PcieBenchHost({ b: 100, m: 200, K: 64 })).toThrow('b is 100 ns, less than');
  });
});

describe('pcie-bench', () => {
  function rerun(window: number, system: string): JudgedSeries[] {
    const reference = pcieBenchReference(PUBLISHED_CURVES);
    const only = Object.fromEntries(
      Object.entries(reference.systems).map(([name, curves]) => [
        name,
        Object.fromEntries(
          Object.entries(curves).map(([key, curve]) => [key, (curve ?? []).filter(([size]) => size === window)]),
        ),
      ]),
    );
    const judged: JudgedSeries[] = [];
    reproducePcieBench(
      { ...reference, systems: only },
      { system, onSeries: (series) => judged.push(judgeSeries(series)) },
    );
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

  it('says which fit is missing', () => {
    const reference = { systems: { A: { lat_cmd_rd8: [[PAGE, 400] as [number, number]] } }, fit: {} };
    expect(() => {
      reproducePcieBench(reference, { system: null, onSeries: () => undefined });
    }).toThrow('pcie_bench.fit.A');
  });
});
