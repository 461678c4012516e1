import { describe, expect, it } from 'vitest';
import { physAddr } from '../memory/addresses.ts';
import { checkRecordedMemory, checkRecordedTransfer } from './recordingLimits.ts';
import type { RecordedMemory } from './recordingVectors.ts';

function memory(...vectors: [phys: number, length: number][]): RecordedMemory {
  const bytes = vectors.reduce((sum, [, length]) => sum + length, 0);
  const list = vectors.map(([phys, length]) => ({ phys: physAddr(phys), length }));
  return { bytes, vectors: list, segments: list.length, poolPages: [], write: true };
}

describe('what a recording claims of a request', () => {
  it('passes for what drives are really given: pages, and unaligned heads and tails', () => {
    expect(() => {
      const usual = memory([0x1_0000_0e00, 0x200], [0x4000, 0x1000], [0x9000, 0x200]);
      checkRecordedMemory(usual, 'a:1');
      checkRecordedTransfer(usual, 'a:1');
    }).not.toThrow();
  });

  it('is refused when no command moves so much, with file and line', () => {
    expect(() => {
      checkRecordedMemory(memory([0x4000, 2 ** 30]), 'a.txt.gz:17');
    }).toThrow('a.txt.gz:17: this command maps 1073741824 bytes');
  });

  it('is refused when an address has more than 52 bits', () => {
    expect(() => {
      checkRecordedMemory(memory([2 ** 52 - 4096, 8192]), 'a:1');
    }).toThrow('no physical address');
  });

  it('is refused when the bytes are not whole blocks, which a drive would never finish', () => {
    expect(() => {
      checkRecordedTransfer(memory([0x4000, 100]), 'a:1');
    }).toThrow('whole blocks of 512');
  });

  it('is refused when a piece is not whole doublewords, though the sum is whole blocks', () => {
    expect(() => {
      checkRecordedTransfer(memory([0x4000, 510], [0x8000, 2]), 'a:1');
    }).toThrow('510 bytes at 0x4000');
  });
});
