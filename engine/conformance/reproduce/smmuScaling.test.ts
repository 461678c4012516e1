/** The rerun of map and unmap on many CPUs behind one SMMUv3, against the published rates and for sense in between. */
import { expect, test } from 'vitest';
import { PUBLISHED_CURVES, smmuScalingReference } from './referenceFile.ts';
import { judgeSeries, type ReproducedSeries } from './report.ts';
import { pairsPerSecond, reproduceSmmuScaling } from './smmuScaling.ts';

function rerun(system: string | null): ReproducedSeries[] {
  const series: ReproducedSeries[] = [];
  reproduceSmmuScaling(smmuScalingReference(PUBLISHED_CURVES), { system, onSeries: (one) => series.push(one) });
  return series;
}

test('both published curves are met within 30 % at every number of CPUs; the older kernel does not count', () => {
  const judged = rerun(null).map(judgeSeries);
  expect(judged.map(({ name, counted }) => [name, counted])).toEqual([
    ['after', true],
    ['before', false],
  ]);
  for (const { points } of judged) {
    for (const point of points) expect(point.error, `${point.x} CPUs`).toBeLessThan(0.3);
  }
});

test('a system names the curves that begin so, and the rerun is the same every time', () => {
  const [after] = rerun('aft');
  expect(rerun('aft')).toEqual([after]);
});

test('each CPU does less the more there are, and together they lose in the end', () => {
  const counts = [1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128];
  const rates = counts.map((count) => pairsPerSecond(count, 3.8));
  for (let index = 1; index < rates.length; index += 1) expect(rates[index]).toBeLessThan(rates[index - 1]!);
  const together = counts.map((count, index) => count * rates[index]!);
  const peak = together.indexOf(Math.max(...together));
  expect(counts[peak]).toBeGreaterThanOrEqual(8);
  expect(counts[peak]).toBeLessThanOrEqual(24);
});

test('without waiting CPUs that cost something, all together do what the slowest of line and hardware lets through', () => {
  const line = 1e9 / 295;
  expect((64 * pairsPerSecond(64, 0)) / line).toBeCloseTo(1, 2);
});
