import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { kernelProfile, type KernelProfileName } from '../dma/kernels/profiles.ts';
import { MappingRequest } from '../schemes/mappingRequest.ts';
import type { SchemeName } from '../schemes/scheme.ts';
import { Bio } from './bio.ts';
import { cutRequest, nvmeQueueLimits, type QueueLimits } from './blockLayer.ts';

const KIB = 1024;
const PAGE = 4096;
const NOBODY = { handleEvent: () => undefined };

function limitsOf(profile: KernelProfileName, scheme: SchemeName, behindIommu = true, sgl = true): QueueLimits {
  return nvmeQueueLimits({
    maximumDataTransferBytes: 1024 * KIB,
    sglSupport: sgl,
    optMappingBytes: behindIommu ? 128 * KIB : Number.MAX_SAFE_INTEGER,
    profile: kernelProfile(profile),
    scheme,
  });
}

function bioOf(vectors: readonly (readonly [number, number])[]): Bio {
  const bio = new Bio(NOBODY, 0, 0);
  bio.reset(true, 0);
  for (const [phys, length] of vectors) bio.addVector(phys, length);
  return bio;
}

function pagesBio(profile: KernelProfileName, pages: readonly number[], folioOf: (index: number) => number): Bio {
  const bio = new Bio(NOBODY, 0, 0);
  bio.reset(false, 0);
  pages.forEach((page, index) => {
    bio.addPage(page * PAGE, PAGE, folioOf(index), kernelProfile(profile));
  });
  return bio;
}

interface Cut {
  bytes: number;
  segments: number;
  vectors: [number, number][];
  gapMask: number;
}

function cutAll(bio: Bio, limits: QueueLimits): Cut[] {
  const request = new MappingRequest();
  const cuts: Cut[] = [];
  while (!bio.cut) {
    const bytes = cutRequest(bio, limits, request);
    const vectors = Array.from({ length: request.vectorCount }, (_, index): [number, number] => [
      request.vectorPhys[index]!,
      request.vectorLength[index]!,
    ]);
    cuts.push({ bytes, segments: request.segments, vectors, gapMask: request.gapMask });
  }
  return cuts;
}

/** The gapped vectors of a recorded write: six pieces inside six pages. */
const GAPPED = [
  [0x1_1939_2400, 1024],
  [0x1_1fd9_4400, 2048],
  [0x1_28fa_2400, 1024],
  [0x1_193b_2200, 1024],
  [0x1_20da_8200, 512],
  [0x1_2591_a600, 512],
] as const;

describe('queue limits of an NVMe namespace (recorded queue/* files)', () => {
  it('are 128 KiB and 33 segments behind an IOMMU, on every kernel', () => {
    expect(limitsOf('6.12', 'map_sg')).toEqual({ maxTransferBytes: 131_072, maxSegments: 33, virtBoundaryMask: 4095 });
    expect(limitsOf('6.17', 'two_step')).toEqual({
      maxTransferBytes: 131_072,
      maxSegments: 33,
      virtBoundaryMask: 4095,
    });
    expect(limitsOf('7.3', 'two_step')).toEqual({ maxTransferBytes: 131_072, maxSegments: 33, virtBoundaryMask: 0 });
  });

  it("are the drive's in passthrough: 1 MiB, and 128 or 256 segments", () => {
    expect(limitsOf('6.12', 'map_sg', false)).toMatchObject({ maxTransferBytes: 1_048_576, maxSegments: 128 });
    expect(limitsOf('7.3', 'two_step', false)).toMatchObject({ maxTransferBytes: 1_048_576, maxSegments: 256 });
  });

  it('keep the virtual boundary where the driver needs it: without SGLs, and in a driver that maps scatterlists', () => {
    expect(limitsOf('7.3', 'two_step', true, false).virtBoundaryMask).toBe(4095);
    expect(limitsOf('7.3', 'map_sg').virtBoundaryMask).toBe(4095);
  });
});

describe('cutting a bio into requests', () => {
  it('makes 8 requests of 1 MiB behind an IOMMU and one without', () => {
    const pages = Array.from({ length: 256 }, (_, index) => 0x10_0000 - index * 2);
    const behind = cutAll(
      pagesBio('6.12', pages, (index) => index),
      limitsOf('6.12', 'map_sg'),
    );
    expect(behind.map(({ bytes, segments }) => [bytes, segments])).toEqual(Array(8).fill([131_072, 32]));
    const direct = cutAll(
      pagesBio('7.3', pages, (index) => index),
      limitsOf('7.3', 'two_step', false),
    );
    expect(direct.map(({ bytes, segments }) => [bytes, segments])).toEqual([[1_048_576, 256]]);
  });

  it('splits gapped vectors into six requests up to 6.17, and leaves them whole on 7.3', () => {
    expect(cutAll(bioOf(GAPPED), limitsOf('6.12', 'map_sg')).map((cut) => cut.bytes)).toEqual(
      GAPPED.map(([, length]) => length),
    );
    const [whole, ...rest] = cutAll(bioOf(GAPPED), limitsOf('7.3', 'two_step'));
    expect(rest).toEqual([]);
    expect(whole).toMatchObject({ bytes: 6144, segments: 6 });
    expect(whole!.gapMask & 0xfff).not.toBe(0);
  });

  it('counts two neighbouring small pages as one segment up to 6.17 and as two on 7.3, one vector either way', () => {
    const before = cutAll(
      pagesBio('6.17', [100, 101], (index) => index),
      limitsOf('6.17', 'two_step'),
    );
    expect(before).toMatchObject([{ segments: 1, vectors: [[100 * PAGE, 8192]] }]);
    const after = cutAll(
      pagesBio('7.3', [100, 101], (index) => index),
      limitsOf('7.3', 'two_step'),
    );
    expect(after).toMatchObject([{ segments: 2, vectors: [[100 * PAGE, 8192]] }]);
  });

  it('makes 16 requests of a huge page on 7.3, of which only the last has two segments', () => {
    const pages = Array.from({ length: 512 }, (_, index) => 0x4_0000 + index);
    const cuts = cutAll(
      pagesBio('7.3', pages, () => 1),
      limitsOf('7.3', 'two_step'),
    );
    expect(cuts.map((cut) => cut.bytes)).toEqual(Array(16).fill(131_072));
    expect(cuts.map((cut) => cut.segments)).toEqual([...Array<number>(15).fill(1), 2]);
    expect(cuts.every((cut) => cut.vectors.length === 1)).toBe(true);
  });

  it('starts 512 bytes into a page and takes 33 segments for 128 KiB', () => {
    const pages = Array.from({ length: 33 }, (_, index) => 1000 + 3 * index);
    const vectors = pages.map((page, index): [number, number] => {
      if (index === 0) return [page * PAGE + 512, PAGE - 512];
      return [page * PAGE, index === 32 ? 512 : PAGE];
    });
    expect(cutAll(bioOf(vectors), limitsOf('6.12', 'map_sg'))).toMatchObject([{ bytes: 131_072, segments: 33 }]);
  });

  it('takes the count of a recording for a bio that stays whole', () => {
    const bio = bioOf([[0x10_0000, 16_384]]);
    bio.recordedSegments = 4;
    expect(cutAll(bio, limitsOf('7.3', 'two_step'))).toMatchObject([{ segments: 4, vectors: [[0x10_0000, 16_384]] }]);
  });

  it('cuts nothing off when a gap comes before the end of the first block', () => {
    const bio = bioOf([
      [0x10_0000, 100],
      [0x20_0000, 412],
    ]);
    expect(cutRequest(bio, limitsOf('7.3', 'map_sg'), new MappingRequest())).toBe(0);
    expect(bio.cut).toBe(false);
    expect(cutAll(bio, limitsOf('7.3', 'two_step')).map((cut) => cut.bytes)).toEqual([512]);
  });

  it('loses and doubles no byte, and keeps every limit', () => {
    const piece = fc.record({ page: fc.integer({ min: 1, max: 60 }), blocks: fc.integer({ min: 1, max: 64 }) });
    const pieces = fc.array(piece, { minLength: 1, maxLength: 80 });
    const profile = fc.constantFrom<KernelProfileName>('6.12', '7.3');
    fc.assert(
      fc.property(pieces, profile, fc.boolean(), (list, name, behindIommu) => {
        const vectors = list.map(({ page, blocks }): [number, number] => [page * 65_536, blocks * 512]);
        const limits = limitsOf(name, name === '6.12' ? 'map_sg' : 'two_step', behindIommu);
        const bio = bioOf(vectors);
        const cuts = cutAll(bio, limits);
        const bytes = (all: readonly (readonly [number, number])[]) =>
          all.flatMap(([phys, length]) => Array.from({ length: length / 512 }, (_, index) => phys + index * 512));
        expect(cuts.flatMap((cut) => bytes(cut.vectors))).toEqual(bytes(vectors));
        for (const cut of cuts) {
          expect(cut.bytes).toBeLessThanOrEqual(limits.maxTransferBytes);
          expect(cut.segments).toBeLessThanOrEqual(limits.maxSegments);
          expect(cut.bytes % 512).toBe(0);
          if (limits.virtBoundaryMask !== 0) expect(cut.gapMask & limits.virtBoundaryMask).toBe(0);
        }
      }),
      { numRuns: 60 },
    );
  });
});
