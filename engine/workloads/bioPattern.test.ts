import { describe, expect, it } from 'vitest';
import { RandomStream } from '../time/random.ts';
import { BioPattern, blockSizeRange, type BioPatternOptions } from './bioPattern.ts';

const KIB = 1024;

function draw(options: Partial<BioPatternOptions>, count: number, seed = 1) {
  const pattern = new BioPattern(
    {
      rw: 'randread',
      readPercent: 50,
      blockSizes: [{ bytes: 4 * KIB, weight: 1 }],
      regionBytes: 1024 * KIB,
      ...options,
    },
    new RandomStream(seed),
  );
  return Array.from({ length: count }, () => {
    pattern.next();
    return { write: pattern.write, sector: pattern.sector, bytes: pattern.bytes };
  });
}

describe('the sequence of I/Os (fio HOWTO: rw, bs, bssplit, rwmixread)', () => {
  it('goes on where the last I/O ended, and starts again at the end of the region', () => {
    const ios = draw({ rw: 'read', blockSizes: [{ bytes: 512 * KIB, weight: 1 }] }, 3);
    expect(ios.map((io) => io.sector)).toEqual([0, 1024, 0]);
  });

  it('stays inside the region and on multiples of the smallest block', () => {
    const ios = draw({ blockSizes: blockSizeRange(4 * KIB, 128 * KIB) }, 2000);
    for (const { sector, bytes } of ios) {
      expect(sector % 8).toBe(0);
      expect(sector * 512 + bytes).toBeLessThanOrEqual(1024 * KIB);
    }
    expect(new Set(ios.map((io) => io.bytes)).size).toBe(32);
  });

  it('mixes reads and writes, and sizes, by their weights', () => {
    const blockSizes = [
      { bytes: 4 * KIB, weight: 3 },
      { bytes: 64 * KIB, weight: 1 },
    ];
    const ios = draw({ rw: 'randrw', readPercent: 70, blockSizes }, 10_000);
    expect(ios.filter((io) => !io.write).length / ios.length).toBeCloseTo(0.7, 1);
    expect(ios.filter((io) => io.bytes === 4 * KIB).length / ios.length).toBeCloseTo(0.75, 1);
  });

  it('is the same for the same seed', () => {
    expect(draw({ rw: 'randrw' }, 50)).toEqual(draw({ rw: 'randrw' }, 50));
    expect(draw({ rw: 'randrw' }, 50)).not.toEqual(draw({ rw: 'randrw' }, 50, 2));
  });
});
