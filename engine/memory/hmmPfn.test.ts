import { describe, expect, test } from 'vitest';
import {
  HMM_PFN_DMA_MAPPED,
  HMM_PFN_ERROR,
  HMM_PFN_P2PDMA,
  HMM_PFN_P2PDMA_BUS,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
  HmmPfnList,
} from './hmmPfn.ts';

describe('HMM page entries (include/linux/hmm.h, enum hmm_pfn_flags)', () => {
  test.each([
    ['valid', HMM_PFN_VALID, '0x800000000010dc7f'],
    ['writable', HMM_PFN_VALID | HMM_PFN_WRITE, '0xc00000000010dc7f'],
    ['mapped', HMM_PFN_VALID | HMM_PFN_WRITE | HMM_PFN_DMA_MAPPED, '0xd00000000010dc7f'],
    ['an error', HMM_PFN_ERROR, '0x200000000010dc7f'],
    ['through the host bridge', HMM_PFN_P2PDMA, '0x80000000010dc7f'],
    ['by bus address', HMM_PFN_P2PDMA_BUS, '0x40000000010dc7f'],
    ['of order 9', 9, '0x12000000010dc7f'],
  ])('%s: the flags stand at the top of the word', (_, flags, word) => {
    const list = new HmmPfnList(2);
    list.set(1, 0x10dc7f, flags);
    expect(list.describe(1)).toBe(word);
    expect(list.describe(0)).toBe('0x0');
  });
});
