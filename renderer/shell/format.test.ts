import { describe, expect, it } from 'vitest';
import { formatDifference, formatDuration } from './format.ts';

const plain = (text: string | null): string | null => text?.replaceAll('\u202f', ' ') ?? null;

describe('a difference', () => {
  it('is signed and in percent of the first column', () => {
    expect(plain(formatDifference(112.3, 100))).toBe('+12.3 %');
    expect(plain(formatDifference(50, 100))).toBe('−50.0 %');
    expect(formatDifference(100, 100)).toBe('=');
    expect(plain(formatDifference(100.01, 100))).toBe('+<0.1 %');
  });

  it('becomes a multiple where percents would not be read', () => {
    expect(formatDifference(1500, 100)).toBe('15.0×');
  });

  it('is left out where there is nothing to compare', () => {
    expect(formatDifference(5, 0)).toBeNull();
    expect(formatDifference(Number.NaN, 4)).toBeNull();
    expect(formatDifference(0, 0)).toBe('=');
  });
});

describe('a duration', () => {
  it('reads like a clock from a minute on', () => {
    expect(plain(formatDuration(7.6))).toBe('8 s');
    expect(formatDuration(125)).toBe('2:05');
    expect(formatDuration(3729)).toBe('1:02:09');
  });
});
