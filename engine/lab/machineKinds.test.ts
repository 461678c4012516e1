/** Machines that a lab may ask for besides the usual one: another vendor's IOMMU, caching mode, drives that are bounced. */
import { describe, expect, test } from 'vitest';
import type { Metrics } from '../metrics/metrics.ts';
import { checkLab } from './check.ts';
import { buildMachine } from './machine.ts';
import { runId } from './runIdentity.ts';
import { sampleDocument, sampleLab } from './testing/sampleLab.ts';

type Fields = Record<string, Record<string, unknown>>;

/** The sample's parts with fields added by the part's id. */
function topologyWith(fields: Fields): Record<string, unknown> {
  const { parts } = sampleDocument()['topology'] as { parts: readonly { readonly id: string }[] };
  return { parts: parts.map((part) => ({ ...part, ...fields[part.id] })) };
}

function run(
  fields: Fields,
  domain: 'strict' | 'passthrough' = 'strict',
  scheme = 'two_step',
  workload: Record<string, unknown> = {},
): Metrics {
  const [reads] = sampleDocument()['workloads'] as readonly Record<string, unknown>[];
  const workloads = [{ ...reads, ...workload }];
  const lab = sampleLab({ topology: topologyWith(fields), workloads, comparison: [{ id: 'only', scheme, domain }] });
  const machine = buildMachine(lab, lab.comparison[0]!, new Map());
  for (const workload of machine.workloads) workload.start();
  while (machine.events.step());
  for (const workload of machine.workloads) expect(workload.done).toBe(true);
  return machine.metrics;
}

describe('optional fields of a topology', () => {
  test('left out, they are no part of the document or of the identity of a run', () => {
    const lab = sampleLab();
    expect(JSON.stringify(lab.topology)).not.toMatch(/vendor|cachingMode|scalableMode|untrusted|dmaMaskBits|swiotlb/);
    const amd = sampleLab({ topology: topologyWith({ iommu0: { vendor: 'amd' } }) });
    const ids = [lab, amd].map((each) => runId(each, each.comparison[0]!, new Map()));
    expect(new Set(ids).size).toBe(2);
  });

  test('two parts with equal values make the same run, whatever preset they come from', () => {
    const ids = ['intel-modern', undefined].map((preset) => {
      const parsed = sampleLab({ topology: topologyWith({ iommu0: preset === undefined ? {} : { preset } }) });
      const { preset: _name, ...values } = parsed.topology.parts.find(({ id }) => id === 'iommu0') as Record<
        string,
        unknown
      > & { preset?: string };
      const byHand = sampleLab({ topology: topologyWith({ iommu0: values }) });
      return [parsed, byHand].map((each) => runId(each, each.comparison[0]!, new Map()));
    });
    for (const [named, byHand] of ids) expect(named).toBe(byHand);
    expect(ids[0]![0]).not.toBe(ids[1]![0]);
  });

  test.each(['map_sg', 'two_step'])("AMD's IOMMU carries a whole workload without a fault, %s", (scheme) => {
    const { counters } = run({ iommu0: { vendor: 'amd' } }, 'strict', scheme);
    expect([counters.get('faults'), counters.get('staleWindowAccesses')]).toEqual([0, 0]);
    expect(counters.get('iotlbLookups')).toBeGreaterThan(0);
  });

  test.each([
    ['smmuv3', 4],
    ['smmuv3', 3],
    ['riscv', 4],
    ['riscv', 3],
    ['riscv', 5],
    ['vtd', 5],
  ])('an IOMMU of vendor %s with %i levels carries a whole workload without a fault', (vendor, levels) => {
    for (const scheme of ['map_sg', 'two_step']) {
      const { counters } = run({ iommu0: { vendor, levels } }, 'strict', scheme);
      expect([counters.get('faults'), counters.get('staleWindowAccesses')]).toEqual([0, 0]);
      expect(counters.get('iotlbLookups')).toBeGreaterThan(0);
      expect(counters.get('invalidationsPage')).toBeGreaterThan(0);
    }
  });

  test.each(['map_sg', 'two_step'])(
    'VT-d in scalable mode does the same work with first-stage tables, %s',
    (scheme) => {
      const usual = run({}, 'strict', scheme).counters;
      const { counters } = run({ iommu0: { scalableMode: true } }, 'strict', scheme);
      expect([counters.get('faults'), counters.get('staleWindowAccesses')]).toEqual([0, 0]);
      for (const name of ['iotlbLookups', 'iommuMaps', 'pteWrites', 'invalidationsPage'] as const) {
        expect(counters.get(name)).toBe(usual.get(name));
      }
    },
  );

  test.each([{}, { scalableMode: true }, { vendor: 'riscv' }])(
    'a fifth level is one more entry for each walk from the root, %o',
    (fields) => {
      const [four, five] = [4, 5].map((levels) => {
        const noCaches = { pagingCache512G: 0, pagingCache1G: 0, pagingCache2M: 0 };
        return run({ iommu0: { ...fields, ...noCaches, levels } }).counters;
      });
      expect(five!.get('faults')).toBe(0);
      const walks = five!.get('iotlbMisses4K') + five!.get('iotlbMisses2M');
      expect(four!.get('iotlbMisses4K') + four!.get('iotlbMisses2M')).toBe(walks);
      expect(five!.get('tableReads') - four!.get('tableReads')).toBe(walks);
    },
  );

  test('a range of pages is one command to an SMMU that knows ranges, and a command for each page to others', () => {
    const [pages, ranges] = [false, true].map(
      (rangeInvalidation) => run({ iommu0: { vendor: 'smmuv3', rangeInvalidation } }, 'strict', 'two_step').counters,
    );
    expect(ranges!.get('faults')).toBe(0);
    expect(ranges!.get('invalidationsPage')).toBeLessThan(pages!.get('invalidationsPage'));
    expect(ranges!.get('iotlbSyncs')).toBe(pages!.get('iotlbSyncs'));
  });

  test.each([{}, { scalableMode: true }, { vendor: 'amd' }])(
    'without superpages every page of huge buffers that stay mapped has a leaf, %o',
    (fields) => {
      const hugeBuffers = { contiguity: 'contiguous', blockSize: 2 ** 21, ioCount: 20 };
      const of = (superpages: boolean) =>
        run({ iommu0: { ...fields, superpages }, nvme0: { maxTransferKiB: 4096 } }, 'strict', 'premapped', hugeBuffers)
          .counters;
      const [large, small] = [of(true), of(false)];
      expect(small.get('faults')).toBe(0);
      expect(small.get('iotlbMisses2M')).toBe(0);
      expect(small.get('pteWrites') - large.get('pteWrites')).toBe(20 * 511);
    },
  );

  test('caching mode costs a flush for each map, and no fault', () => {
    const usual = run({}).counters;
    const caching = run({ iommu0: { cachingMode: true } }).counters;
    expect(caching.get('faults')).toBe(0);
    expect(caching.get('iotlbSyncs')).toBeGreaterThanOrEqual(2 * usual.get('iotlbSyncs'));
  });

  test('a drive of 31 bits is bounced where nothing translates, and not where the IOMMU does', () => {
    const fields = { dram0: { swiotlb: { sizeMiB: 64 } }, nvme0: { dmaMaskBits: 31 } };
    const bounced = run(fields, 'passthrough', 'map_sg').counters;
    expect(bounced.get('bounces')).toBeGreaterThan(0);
    expect(bounced.get('bytesBounced')).toBeGreaterThan(0);
    expect(run(fields, 'strict').counters.get('bounces')).toBe(0);
  });

  test('force bounces every mapping that is not translated', () => {
    const fields = { dram0: { swiotlb: { sizeMiB: 64, force: true } } };
    expect(run(fields, 'passthrough', 'map_sg').counters.get('bounces')).toBeGreaterThanOrEqual(200);
  });

  test('an untrusted drive works on a machine with bounce buffers', () => {
    const fields = { dram0: { swiotlb: { sizeMiB: 64 } }, nvme0: { untrusted: true } };
    expect(run(fields).counters.get('faults')).toBe(0);
  });
});

describe('what these fields demand', () => {
  const problems = (fields: Fields, domain = 'strict'): string[] => {
    const comparison = [{ id: 'only', scheme: 'map_sg', domain }];
    const document = { ...sampleDocument(), topology: topologyWith(fields), comparison };
    const checked = checkLab(document, 'sample');
    return checked.problems.map(({ path }) => path);
  };

  test.each([
    [{ nvme0: { untrusted: true } }, 'strict', 'topology.parts[nvme0].untrusted'],
    [{ nvme0: { dmaMaskBits: 30 } }, 'passthrough', 'topology.parts[nvme0].dmaMaskBits'],
    [{ nvme0: { dmaMaskBits: 26 }, dram0: { swiotlb: {} } }, 'passthrough', 'topology.parts[nvme0].dmaMaskBits'],
    [{ iommu0: { vendor: 'amd', cachingMode: true } }, 'strict', 'topology.parts[iommu0].cachingMode'],
    [{ iommu0: { vendor: 'amd', scalableMode: true } }, 'strict', 'topology.parts[iommu0].scalableMode'],
    [{ iommu0: { levels: 3, scalableMode: true } }, 'strict', 'topology.parts[iommu0].levels'],
    [{ iommu0: { levels: 5, vendor: 'smmuv3' } }, 'strict', 'topology.parts[iommu0].levels'],
    [{ iommu0: { rangeInvalidation: true } }, 'strict', 'topology.parts[iommu0].rangeInvalidation'],
    [{ iommu0: { superpages: false, vendor: 'riscv' } }, 'strict', 'topology.parts[iommu0].superpages'],
    [{ dram0: { sizeGiB: 1, swiotlb: { sizeMiB: 1024 } } }, 'strict', 'topology.parts[dram0].swiotlb.sizeMiB'],
  ])('%o with %s is refused at %s', (fields: Fields, domain, path) => {
    expect(problems(fields, domain)).toEqual([path]);
  });

  test.each([
    [{ nvme0: { untrusted: true }, dram0: { swiotlb: {} } }, 'strict'],
    [{ nvme0: { dmaMaskBits: 30 } }, 'strict'],
    [{ nvme0: { dmaMaskBits: 32 } }, 'passthrough'],
  ])('%o with %s is accepted', (fields: Fields, domain) => {
    expect(problems(fields, domain)).toEqual([]);
  });
});
