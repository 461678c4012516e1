import { describe, expect, it } from 'vitest';
import { picoseconds } from '../time/picoseconds.ts';
import { NvmeMediaTiming, type NvmeMediaTimingOptions } from './nvmeMediaTiming.ts';

const MICROSECOND = 1_000_000;

function timing(options: Partial<NvmeMediaTimingOptions>): NvmeMediaTiming {
  return new NvmeMediaTiming({
    channels: 64,
    readLatency: picoseconds(70 * MICROSECOND),
    writeLatency: picoseconds(15 * MICROSECOND),
    maxReadBytesPerSecond: 1e12,
    maxWriteBytesPerSecond: 1e12,
    maxIops: 1e9,
    ...options,
  });
}

describe('the timing of a medium', () => {
  it('lets commands on different channels run side by side', () => {
    const media = timing({ channels: 2 });
    expect(media.access(false, 512, picoseconds(0))).toBe(70 * MICROSECOND);
    expect(media.access(false, 512, picoseconds(1000))).toBe(70 * MICROSECOND + 1000);
    expect(media.access(false, 512, picoseconds(2000))).toBe(140 * MICROSECOND);
  });

  it('starts no more commands a second than its cap allows', () => {
    const media = timing({ maxIops: 500_000 });
    const first = media.access(true, 512, picoseconds(0));
    let last = first;
    for (let command = 1; command <= 10; command += 1) last = media.access(true, 512, picoseconds(0));
    expect(last - first).toBe(10 * 2 * MICROSECOND);
  });

  it('moves no more bytes a second than its cap allows, reads and writes apart', () => {
    const media = timing({ maxReadBytesPerSecond: 1e9, readLatency: picoseconds(0) });
    let last = 0;
    for (let command = 0; command < 10; command += 1) last = media.access(false, 131_072, picoseconds(0));
    expect(last).toBe(10 * 131_072 * 1000);
    expect(media.access(true, 512, picoseconds(0))).toBeLessThan(last);
  });
});
