/** The time series against a list of events: totals survive merging, levels keep their maximum, memory stays bounded. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Metrics } from './metrics.ts';
import { WindowedSeries } from './timeSeries.ts';

const events = fc.array(
  fc.record({ after: fc.integer({ min: 0, max: 5_000 }), amount: fc.integer({ min: 0, max: 100 }) }),
  {
    minLength: 1,
    maxLength: 200,
  },
);

describe('WindowedSeries', () => {
  it('keeps every count in the window of its moment, however often windows merge', () => {
    fc.assert(
      fc.property(events, (list) => {
        const series = new WindowedSeries(8, 100);
        let now = 0;
        const moments = list.map(({ after, amount }) => {
          now += after;
          series.add(now, 0, amount);
          return { now, amount };
        });
        const { windowPs, count, columns } = series.snapshot();
        expect(count).toBeLessThanOrEqual(8);
        const expected = new Float64Array(count);
        for (const moment of moments) {
          const window = Math.floor(moment.now / windowPs);
          expected[window] = (expected[window] ?? 0) + moment.amount;
        }
        expect(columns.iotlbLookups).toEqual(expected);
      }),
    );
  });

  it('holds the maximum of a level, also in windows in which it did not change', () => {
    fc.assert(
      fc.property(events, (list) => {
        const series = new WindowedSeries(8, 100);
        let now = 0;
        const moments = list.map(({ after, amount }) => {
          now += after;
          series.level(now, 0, amount);
          return { now, amount };
        });
        const { windowPs, count, columns } = series.snapshot();
        for (let window = 0; window < count; window += 1) {
          const inside = moments.filter((moment) => Math.floor(moment.now / windowPs) === window);
          const before = moments.findLast((moment) => moment.now < window * windowPs);
          const most = Math.max(before?.amount ?? 0, ...inside.map((moment) => moment.amount));
          expect(columns.bookkeepingBytes[window]).toBe(most);
        }
      }),
    );
  });

  it('merges the latencies of windows, so that percentiles of wide windows are those of all values', () => {
    const series = new WindowedSeries(4, 1_000);
    for (let at = 0; at < 64_000; at += 10) series.latency(at, at < 32_000 ? 1_000_000 : 9_000_000);
    const { windowPs, count, columns } = series.snapshot();
    expect(count * windowPs).toBeGreaterThanOrEqual(64_000);
    expect(Math.abs((columns.mapLatencyP50[0] ?? 0) / 1_000_000 - 1)).toBeLessThan(1 / 16);
    expect(Math.abs((columns.mapLatencyP99[count - 1] ?? 0) / 9_000_000 - 1)).toBeLessThan(1 / 16);
  });

  it('answers the same whether or not snapshots were taken on the way', () => {
    const quiet = new WindowedSeries(8, 100);
    const watched = new WindowedSeries(8, 100);
    for (let at = 0; at < 10_000; at += 7) {
      quiet.latency(at, at * 1_000);
      watched.latency(at, at * 1_000);
      if (at % 3 === 0) watched.snapshot();
    }
    expect(watched.snapshot()).toEqual(quiet.snapshot());
  });
});

describe('Metrics', () => {
  it('credits what was counted to the window of the event that counted it', () => {
    const metrics = new Metrics({ windows: 8, windowPs: 100 });
    for (const [at, misses] of [
      [10, 3],
      [90, 2],
      [150, 7],
      [320, 1],
    ] as const) {
      metrics.beginEvent(at);
      metrics.counters.add('iotlbMisses4K', misses);
    }
    metrics.credit();
    expect([...metrics.series.snapshot().columns.iotlbMisses4K]).toEqual([5, 7, 0, 1]);
  });
});
