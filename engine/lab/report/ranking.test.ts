/** Orders of columns, and what is different between two of them. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RunSummary } from '../runTypes.ts';
import { changedPlaces, chosenMetric, lostColumns, ranking } from './ranking.ts';

function summary(figures: Readonly<Record<string, number>>): RunSummary {
  const rows = Object.entries(figures).map(([key, value]) => ({
    key,
    label: key,
    unit: 'count' as const,
    value,
    help: '',
  }));
  return { rows };
}

function ranked(metric: string, values: readonly number[]): ReturnType<typeof ranking> {
  return ranking(new Map(values.map((value, index) => [String(index), summary({ [metric]: value })])), metric);
}

describe('the order of columns', () => {
  it('puts the highest rate first, and the lowest latency', () => {
    expect(ranked('throughput', [2, 3, 1]).map(({ id }) => id)).toEqual(['1', '0', '2']);
    expect(ranked('throughput.nvme0', [2, 3, 1]).map(({ id }) => id)).toEqual(['1', '0', '2']);
    expect(ranked('ioLatencyP99', [2, 3, 1]).map(({ id }) => id)).toEqual(['2', '0', '1']);
  });

  it('has no place for a column without a figure', () => {
    expect(ranked('throughput', [2, Number.NaN, 1]).map(({ id }) => id)).toEqual(['0', '2']);
  });

  it('changes where two columns change places, and not where they come level', () => {
    const base = ranked('throughput', [100, 90, 80]);
    expect(changedPlaces(base, ranked('throughput', [70, 90, 80]))).toEqual([
      { before: '0', after: '1' },
      { before: '0', after: '2' },
    ]);
    expect(changedPlaces(base, ranked('throughput', [100, 100.05, 80]))).toEqual([]);
    expect(changedPlaces(ranked('throughput', [100, 99.95]), ranked('throughput', [90, 100]))).toEqual([]);
    expect(lostColumns(base, ranked('throughput', [100, Number.NaN, 80]))).toEqual(['1']);
  });

  it('changes exactly where a pair compared by itself does', () => {
    const values = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 4, maxLength: 4 });
    fc.assert(
      fc.property(values, values, (before, after) => {
        const pairs = before.flatMap((one, i) =>
          before.flatMap((other, j) => (one > other && after[i]! < after[j]! ? [`${String(i)}>${String(j)}`] : [])),
        );
        const found = changedPlaces(ranked('throughput', before), ranked('throughput', after));
        expect(found.map((pair) => `${pair.before}>${pair.after}`).sort()).toEqual(pairs.sort());
      }),
      { seed: 3 },
    );
  });

  it('is by the metric that was asked for, or by the first of the usual ones', () => {
    const chosen = (figures: readonly Readonly<Record<string, number>>[], wanted: string | null = null): string[] => {
      const { metric, passedOver } = chosenMetric(figures.map(summary), wanted);
      return [...passedOver, metric].map(({ key }) => key);
    };
    expect(chosen([{ faults: 0, requestRate: 1 }])).toEqual(['requestRate']);
    expect(chosen([{ faults: 0 }])).toEqual(['faults']);
    expect(chosen([{ faults: 0 }, { bounces: 0 }], 'bounces')).toEqual(['bounces']);
    expect(
      chosen([
        { throughput: 5, requestRate: 5, ioLatencyP50: 1 },
        { throughput: 5.001, requestRate: 5, ioLatencyP50: 2 },
      ]),
    ).toEqual(['throughput', 'requestRate', 'ioLatencyP50']);
    expect(
      chosen([
        { throughput: 5, requestRate: 5 },
        { throughput: 5, requestRate: 5 },
      ]),
    ).toEqual(['throughput']);
    expect(() => chosenMetric([summary({ faults: 0 })], 'fault')).toThrow(/--metric fault: .* Did you mean faults\?/);
  });
});
