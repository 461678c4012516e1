/**
 * What the log says of refused requests is what each vendor's manual calls it (VT-d specification 7.1.3; AMD specification 48882, 2.5.3; Arm
 * SMMUv3 specification IHI 0070, 7.3; RISC-V IOMMU specification 1.0, 4.2): for a page that is not mapped, one that lets only reads or only
 * writes pass, by whichever stage, and for a device that has no entry.
 */
import { describe, expect, test } from 'vitest';
import { Counters } from '../metrics/counters.ts';
import { EventLog } from '../metrics/eventLog.ts';
import { NO_PASID } from '../pcie/translator.ts';
import { picoseconds } from '../time/picoseconds.ts';
import type { IommuVendor } from './architectures.ts';
import { FREE_IOMMU_COSTS } from './freeCosts.ts';
import { Iommu, type IommuGeometry } from './iommu.ts';
import { DEVICE, LEAF_PAGES, PASIDS, processMachine, type Stages } from './testProcesses.ts';

const GEOMETRY: IommuGeometry = {
  iotlb: { entries4K: 16, entries2M: 4, entries1G: 4, ways: 4 },
  pagingCache: { entries512G: 4, entries1G: 4, entries2M: 4 },
  contextCacheEntries: 2,
  walkers: 1,
};
const OTHER_DEVICE = 0x0208;
const READ_ONLY_PAGE = 1;
const ABSENT_PAGE = 2;
const GUEST_ABSENT_PAGE = 3;

/** The code of each refusal, in order. */
function refusals(vendor: IommuVendor, stages: Stages): (string | undefined)[] {
  const { memory, frames, root, first, second } = processMachine(vendor, stages);
  const log = new EventLog();
  const iommu = new Iommu({
    name: 'iommu0',
    memory,
    frames,
    geometry: GEOMETRY,
    costs: FREE_IOMMU_COSTS,
    counters: new Counters(),
    log,
    vendor,
    scalableMode: true,
  });
  iommu.setRootTable(root);
  const pages = [READ_ONLY_PAGE, ABSENT_PAGE, GUEST_ABSENT_PAGE];
  for (const page of pages) {
    const permissions = page === READ_ONLY_PAGE ? 1 : page === ABSENT_PAGE ? 0 : 3;
    for (const tables of first) tables.write(page, page, permissions, false);
    const below = stages === 'second' ? permissions : page === GUEST_ABSENT_PAGE ? 0 : 3;
    second.write(page, LEAF_PAGES + page, below, false);
  }
  const pasid = stages === 'second' ? NO_PASID : PASIDS[0];
  const request = (device: number, page: number, write: boolean): boolean =>
    iommu.translateWithPasid(device, pasid, page, write, 1, picoseconds(0));
  expect(request(DEVICE, READ_ONLY_PAGE, false)).toBe(true);
  expect(request(DEVICE, READ_ONLY_PAGE, true)).toBe(false);
  expect(request(DEVICE, ABSENT_PAGE, false)).toBe(false);
  expect(request(DEVICE, ABSENT_PAGE, true)).toBe(false);
  if (stages === 'both') expect(request(DEVICE, GUEST_ABSENT_PAGE, false)).toBe(false);
  // an entry of AMD's table that is all zeros translates nothing and lets everything pass (48882, 2.2.2.1)
  expect(request(OTHER_DEVICE, 0, false)).toBe(vendor === 'amd');
  return log.entries().map(({ message }) => / refused, ([^:]+): ./.exec(message)?.[1]);
}

describe.each([
  ['vtd', 'first', ['reason 0x85', 'reason 0x71', 'reason 0x71', 'reason 0x39']],
  ['vtd', 'second', ['reason 0x85', 'reason 0x79', 'reason 0x79', 'reason 0x39']],
  ['vtd', 'both', ['reason 0x85', 'reason 0x71', 'reason 0x71', 'reason 0x79', 'reason 0x39']],
  ['amd', 'first', ['0x0071', '0x0001', '0x0021'].map(ioPageFault)],
  ['amd', 'second', ['0x0070', '0x0000', '0x0020'].map(ioPageFault)],
  ['amd', 'both', ['0x0071', '0x0001', '0x0021', '0x0000'].map(ioPageFault)],
  [
    'smmuv3',
    'first',
    ['0x13, F_PERMISSION', '0x10, F_TRANSLATION', '0x10, F_TRANSLATION', '0x02, C_BAD_STREAMID'].map(event),
  ],
  [
    'smmuv3',
    'second',
    [
      '0x13, F_PERMISSION, stage 2',
      '0x10, F_TRANSLATION, stage 2',
      '0x10, F_TRANSLATION, stage 2',
      '0x02, C_BAD_STREAMID',
    ].map(event),
  ],
  [
    'smmuv3',
    'both',
    [
      '0x13, F_PERMISSION',
      '0x10, F_TRANSLATION',
      '0x10, F_TRANSLATION',
      '0x10, F_TRANSLATION, stage 2',
      '0x02, C_BAD_STREAMID',
    ].map(event),
  ],
  [
    'riscv',
    'first',
    ['15, write/AMO page fault', '13, read page fault', '15, write/AMO page fault', '258, DDT entry not valid'].map(
      cause,
    ),
  ],
  [
    'riscv',
    'second',
    [
      '23, write/AMO guest page fault',
      '21, read guest page fault',
      '23, write/AMO guest page fault',
      '258, DDT entry not valid',
    ].map(cause),
  ],
  [
    'riscv',
    'both',
    [
      '15, write/AMO page fault',
      '13, read page fault',
      '15, write/AMO page fault',
      '21, read guest page fault',
      '258, DDT entry not valid',
    ].map(cause),
  ],
] as const)('%s', (vendor, stages, codes) => {
  test(`through ${stages}: as the manual numbers and names them`, () => {
    expect(refusals(vendor, stages)).toEqual(codes);
  });
});

function ioPageFault(flags: string): string {
  return `event 0x02, IO_PAGE_FAULT flags=${flags}`;
}

function event(text: string): string {
  return `event ${text}`;
}

function cause(text: string): string {
  return `cause ${text}`;
}
