import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PageKinds, type P2pdmaProvider } from './pageKinds.ts';

const GPU: P2pdmaProvider = { name: 'gpu', busOffset: 0, sourceId: 0x100 };
const DRIVE: P2pdmaProvider = { name: 'drive', busOffset: 0, sourceId: 0x200 };

describe('page kinds', () => {
  test('ranges of peers may overlap and be taken back, against a naive list', () => {
    const change = fc.record({
      first: fc.integer({ min: 0, max: 60 }),
      pages: fc.integer({ min: 0, max: 20 }),
      kind: fc.constantFrom('ram' as const, GPU, DRIVE),
    });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 20 }), (changes) => {
        const kinds = new PageKinds();
        const naive = new Array<P2pdmaProvider | null>(90).fill(null);
        for (const { first, pages, kind } of changes) {
          kinds.setRange(first, pages, kind);
          naive.fill(kind === 'ram' ? null : kind, first, first + pages);
        }
        const pages = naive.map((_, page) => page);
        expect(pages.map((page) => kinds.providerOf(page))).toEqual(naive);
        // and asked in another order, since the last answer is remembered
        expect(pages.toReversed().map((page) => kinds.kindOf(page))).toEqual(
          naive.toReversed().map((provider) => (provider === null ? 'ram' : 'p2p')),
        );
      }),
    );
  });

  test('RAM of a confidential guest is private until shared; a peer is never private, nor is a plain machine', () => {
    const guest = new PageKinds({ confidential: true });
    guest.setRange(2000, 10, GPU);
    guest.setPrivate(1020, 10, false);
    expect([1019, 1020, 1029, 1030, 2005].map((page) => guest.isPrivate(page))).toEqual([
      true,
      false,
      false,
      true,
      false,
    ]);
    guest.setPrivate(1024, 1, true);
    expect([1023, 1024, 1025].map((page) => guest.isPrivate(page))).toEqual([false, true, false]);
    expect(new PageKinds().isPrivate(5)).toBe(false);
  });

  test('small objects are a mark of its own', () => {
    const kinds = new PageKinds({ confidential: true });
    kinds.setKmallocSmall(7, 2, true);
    kinds.setPrivate(8, 1, false);
    kinds.setKmallocSmall(7, 1, false);
    expect([6, 7, 8, 9].map((page) => kinds.isKmallocSmall(page))).toEqual([false, false, true, false]);
    expect(kinds.isPrivate(8)).toBe(false);
  });
});
