import { describe, expect, it } from 'vitest';
import {
  closingLine,
  conditionsLine,
  judgeSeries,
  pointError,
  reproduction,
  seriesLines,
  type ReproducedSeries,
} from './report.ts';

const SERIES: ReproducedSeries = {
  name: 'host lat',
  unit: 'ns',
  xName: 'window',
  counted: true,
  points: [
    { x: '4096', model: 103, reference: 100 },
    { x: '8192', model: 99, reference: 100 },
  ],
};

describe('error of a reproduced point', () => {
  it('is the distance to the reference as a share of the reference', () => {
    expect(pointError({ x: '1', model: 110, reference: 100 })).toBeCloseTo(0.1);
    expect(pointError({ x: '1', model: 90, reference: 100 })).toBeCloseTo(0.1);
  });

  it('is all or nothing where the reference is zero or a bound', () => {
    expect(pointError({ x: '1', model: 0.009, reference: 0 })).toBe(0);
    expect(pointError({ x: '1', model: 0.01, reference: 0 })).toBe(1);
    expect(pointError({ x: '1', model: 220_001, reference: '>220000' })).toBe(0);
    expect(pointError({ x: '1', model: 220_000, reference: '>220000' })).toBe(1);
    expect(pointError({ x: '1', model: 3, reference: '<4' })).toBe(0);
  });

  it('is the whole where the model gave no number', () => {
    expect(pointError({ x: '1', model: NaN, reference: 100 })).toBe(1);
    expect(pointError({ x: '1', model: Infinity, reference: '>5' })).toBe(1);
  });
});

describe('lines of a reproduction', () => {
  it('say each point, then the series', () => {
    expect(seriesLines(judgeSeries(SERIES))).toEqual([
      'host lat  window 4096  model 103.0  reference 100.0 ns  error 3.0 %',
      'host lat  window 8192  model 99.00  reference 100.0 ns  error 1.0 %',
      'host lat: worst 3.0 %, mean 2.0 %',
    ]);
  });

  it('end with the worst and the mean over all points that count', () => {
    const aside = judgeSeries({ ...SERIES, counted: false, points: [{ x: '1', model: 2, reference: 1 }] });
    const all = reproduction('host', [judgeSeries(SERIES), aside]);
    expect(closingLine(all)).toBe('host: worst error 3.0 %, mean error 2.0 %');
    expect(seriesLines(aside).at(-1)).toBe('host lat: worst 100.0 %, mean 100.0 % (not counted)');
  });

  it('say how many conditions do not hold, of those that count', () => {
    const condition = (counted: boolean, model: number): ReproducedSeries => ({
      ...SERIES,
      counted,
      points: [
        { x: '1', model, reference: 0 },
        { x: '2', model, reference: '<0.06' },
      ],
    });
    const failed = reproduction('host', [SERIES, condition(true, 0.07), condition(false, 1)].map(judgeSeries));
    expect(failed.brokenConditions).toBe(2);
    expect(conditionsLine(failed)).toBe('host: 2 conditions do not hold');
    expect(conditionsLine(reproduction('host', [judgeSeries(condition(true, 0.001))]))).toBeNull();
  });
});
