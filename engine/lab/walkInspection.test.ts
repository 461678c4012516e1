/**
 * What the page-walk view says is what the hardware does: the same machine, looked into and then accessed, answers as the look
 * said and in the time that it summed up (VT-d specification 6.2 and 3.7: context cache, IOTLB, longest cached prefix, walk).
 */
import { describe, expect, it } from 'vitest';
import { picoseconds } from '../time/picoseconds.ts';
import { addressOf } from './iovaText.ts';
import { costParameters } from './presets.ts';
import { LabRun } from './run.ts';
import { RunInspection } from './runInspection.ts';
import type { LabDocument } from './schema.ts';
import { sampleLab, sampleDocument } from './testing/sampleLab.ts';
import { inspectWalk, type WalkSnapshot } from './walkInspection.ts';

const NO_RECORDINGS = new Map();
const MOMENT = 200_000_000;

function lab(domain: string, iommu: Record<string, unknown> = {}, socket: Record<string, unknown> = {}): LabDocument {
  const { topology } = sampleDocument() as { topology: { parts: { kind: string }[] } };
  const own: Readonly<Record<string, Record<string, unknown>>> = { iommu, socket };
  const parts = topology.parts.map((part) => ({ ...part, ...own[part.kind] }));
  return sampleLab({ topology: { parts }, comparison: [{ id: 'only', scheme: 'map_sg', domain }] });
}

function runTo(document: LabDocument): LabRun {
  const run = LabRun.prepare(document, 'only', NO_RECORDINGS);
  while (run.advance(1_000, MOMENT) === 'running') run.progress();
  return run;
}

function driveOf(run: LabRun) {
  const { iommu, device } = run.machine.drives[0]!;
  if (iommu === null) throw new Error('the lab has an IOMMU');
  return { iommu, device };
}

function look(run: LabRun, document: LabDocument, iova: string, write: boolean): WalkSnapshot {
  const { iommu, device } = driveOf(run);
  const place = {
    at: MOMENT,
    iommu,
    sourceId: device.sourceId,
    iotlb: iommu.iotlb.look(),
    pagingCache: iommu.pagingCache.look(),
    costs: costParameters(document),
  };
  return inspectWalk(place, { iova, write });
}

/** Live ranges of the moment, and addresses that nothing has. */
function addresses(document: LabDocument): string[] {
  const inspection = RunInspection.prepare(document, 'only', NO_RECORDINGS, MOMENT, null);
  while (inspection.advance(1_000) === 'running') expect(inspection.reached).toBeLessThanOrEqual(MOMENT);
  const { space } = inspection.snapshot();
  const known = space.ranges.map(({ firstPage, pages }, index) => addressOf(firstPage + (index % pages), index));
  return [...known, '0x1000', '0xfffff123', '0x7fffffffffff', '0xffffffffffffffff'];
}

const MACHINES: readonly [string, LabDocument][] = [
  ['VT-d, lazy', lab('lazy')],
  ['VT-d, strict', lab('strict')],
  ['VT-d, past caches', lab('strict', { coherent: false, pagingCache2M: 1 })],
  ['VT-d, through a cache', lab('strict', {}, { lastLevelCache: { sizeMiB: 1, ways: 2, deviceWays: 2 } })],
  ['VT-d, passthrough', lab('passthrough')],
  ['VT-d, three levels', lab('strict', { levels: 3 })],
  ['VT-d, scalable mode', lab('lazy', { scalableMode: true })],
  [
    'VT-d, one walker and no paging caches',
    lab('lazy', { walkers: 1, pagingCache512G: 0, pagingCache1G: 0, pagingCache2M: 0 }),
  ],
  ['AMD', lab('lazy', { vendor: 'amd' })],
  ['Arm SMMUv3', lab('strict', { vendor: 'smmuv3' })],
  ['RISC-V', lab('strict', { vendor: 'riscv' })],
  ['one hashed IOTLB for all sizes', lab('lazy', { iotlbUnified: true, iotlbHashed: true, iotlbReplacement: 'plru' })],
];

describe.each(MACHINES)('%s', (_name, document) => {
  const wanted = addresses(document);

  it('ends as the access does, and takes as long', () => {
    const run = runTo(document);
    const { iommu, device } = driveOf(run);
    for (const [index, iova] of wanted.entries()) {
      const write = index % 2 === 1;
      const seen = look(run, document, iova, write);
      const page = Number(BigInt(iova) >> 12n);
      const allowed = iommu.translate(device.sourceId, page, write, 1, picoseconds(MOMENT));
      expect([iova, seen.outcome.kind === 'refused']).toEqual([iova, !allowed]);
      expect([iova, seen.ps]).toEqual([iova, iommu.readyAt - MOMENT]);
      expect(seen.ps).toBe(seen.steps.reduce((sum, { ps }) => sum + ps, 0));
      if (seen.outcome.kind === 'refused') continue;
      expect(seen.outcome.address).toBe(addressOf(iommu.physPage, Number(BigInt(iova) & 0xfffn)));
      expect(seen.entries.filter(({ read }) => read).length).toBe(
        seen.steps.filter(({ title }) => title.startsWith('entry of level')).length,
      );
    }
  });

  it('changes nothing: looked into or not, the run goes on to the same end', () => {
    const plain = runTo(document);
    const looked = runTo(document);
    for (const iova of wanted) look(looked, document, iova, false);
    for (const run of [plain, looked]) while (run.advance(10_000) === 'running') run.progress();
    expect(looked.result().counters).toEqual(plain.result().counters);
    expect(looked.result().progress).toEqual(plain.result().progress);
  });
});

it('says what helps where the tables refuse', () => {
  const document = lab('strict');
  const run = runTo(document);
  const absent = look(run, document, '0x1000', false);
  expect(absent.outcome).toMatchObject({
    kind: 'refused',
    refusal: { number: 6, code: 'reason 0x06', words: 'no page is mapped there' },
  });
  expect(absent.entries.at(-1)).toMatchObject({ kind: 'absent', targetPage: -1 });
  const beyond = look(run, document, '0xffffffffffffffff', true);
  expect(beyond.outcome).toMatchObject({ kind: 'refused', refusal: { number: 4 } });
  expect(beyond.entries).toEqual([]);
});

it.each([
  // VT-d specification 7.1.3; AMD 48882, 2.5.3; SMMUv3 IHI 0070, 7.3; RISC-V IOMMU 1.0, 4.2
  ['vtd', {}, 'context cache', 'reason 0x06', 'reason 0x05', [4, 3, 2, 1]],
  ['vtd', { scalableMode: true }, 'context and PASID caches', 'reason 0x71', 'reason 0x71', [4, 3, 2, 1]],
  [
    'amd',
    {},
    'device table cache',
    'event 0x02, IO_PAGE_FAULT flags=0x0000',
    'event 0x02, IO_PAGE_FAULT flags=0x0020',
    [3, 2, 1],
  ],
  ['smmuv3', {}, 'configuration cache', 'event 0x10, F_TRANSLATION', 'event 0x10, F_TRANSLATION', [0, 1, 2, 3]],
  ['riscv', {}, 'device directory cache', 'cause 13, read page fault', 'cause 15, write/AMO page fault', [3, 2, 1, 0]],
] as const)(
  'speaks as the manual of %s %o does of caches, faults and levels',
  (vendor, fields, cache, read, write, levels) => {
    const document = lab('strict', { vendor, ...fields });
    const run = runTo(document);
    const refused = look(run, document, '0x1000', false);
    expect(refused.caches[0]).toMatchObject({ cache });
    expect(refused.outcome).toMatchObject({ refusal: { code: read } });
    expect(look(run, document, '0x1000', true).outcome).toMatchObject({ refusal: { code: write } });
    const known = addresses(document).map((iova) =>
      look(run, document, iova, false).entries.map(({ number }) => number),
    );
    expect(known).toContainEqual(levels);
  },
);

it('refuses in words what is no address', () => {
  const document = lab('strict');
  const run = runTo(document);
  for (const written of ['', '0x', 'noon', '-1', '0x1_0', '1.5', '0x10000000000000000']) {
    expect(() => look(run, document, written, false)).toThrow('this is no address');
  }
});
