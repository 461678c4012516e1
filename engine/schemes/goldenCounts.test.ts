/**
 * What one request of 128 KiB in 32 scattered pages costs under each scheme and domain, against the counts that follow from the kernel's code
 * (Linux 7.2; drivers/iommu/dma-iommu.c): allocations of IOVA, maps, syncs, unmaps, flushes that the CPU waits for, and what waits in the
 * flush queue. And that every byte of the request is where the scheme says that the device finds it.
 */
import { describe, expect, test } from 'vitest';
import { DMA_FROM_DEVICE } from '../dma/attributes.ts';
import { kernelProfile } from '../dma/kernels/profiles.ts';
import { ScatterList } from '../dma/scatterList.ts';
import { TestMachine } from '../dma/testMachine.ts';
import { takeWork, work, type Work } from '../dma/testMeter.ts';
import { DmaIovaState } from '../dma/twoStep.ts';
import { MappedRequest } from './mappedRequest.ts';
import { MappingRequest } from './mappingRequest.ts';
import { SCHEME_NAMES, type SchemeName } from './scheme.ts';
import { createScheme } from './schemes.ts';

const PAGE = 4096;
const PAGES = 32;
const PROFILE = '7.2';

type Domain = 'strict' | 'lazy' | 'passthrough';

/** Every second page, so that none follows another. */
function scattered(firstOffset = 0): MappingRequest {
  const request = new MappingRequest();
  request.reset(DMA_FROM_DEVICE);
  for (let index = 0; index < PAGES; index += 1) {
    const offset = index === 0 ? firstOffset : 0;
    request.addVector(0x1_2000_0000 + index * 2 * PAGE + offset, PAGE - offset);
  }
  request.segments = PAGES;
  return request;
}

function run(name: SchemeName, domain: Domain, request = scattered()) {
  const machine = new TestMachine({ profile: PROFILE, domain, device: { maxSegmentSize: 2 ** 32 - 1 } });
  const { api, device, cpu } = machine;
  const scheme = createScheme(name, api, device, kernelProfile(PROFILE), 'test');
  const mapped = new MappedRequest(new DmaIovaState(), new ScatterList());
  if (name === 'premapped') {
    const pages = Float64Array.from({ length: PAGES }, (_, index) => Math.floor(request.vectorPhys[index]! / PAGE));
    expect(scheme.registerBuffer(cpu, pages)).toBe('ok');
  }
  takeWork(machine);
  expect(scheme.mapStart(cpu, request, mapped)).toBe('ok');
  while (scheme.mapNext(cpu, request, mapped));
  expect(mapped.status).toBe('ok');
  const mapping = takeWork(machine);
  const ranges = mapped.count;
  const translated = api.translatedDevice(device);
  const reached: number[] = [];
  for (let range = 0; range < mapped.count; range += 1) {
    for (let done = 0; done < mapped.length[range]!;) {
      const address = mapped.address[range]! + done;
      reached.push(translated === null ? address : translated.domain.iovaToPhys(address));
      done += Math.min(mapped.length[range]! - done, PAGE - (address % PAGE));
    }
  }
  expect(reached).toEqual([...request.vectorPhys.subarray(0, PAGES)]);
  scheme.unmap(cpu, request.direction, mapped);
  const unmapping = takeWork(machine);
  scheme.release(cpu);
  return { mapping, unmapping, ranges };
}

const NOTHING = work();
const EVERY = { iovaAllocations: PAGES, maps: PAGES };
type Row = readonly [SchemeName, Domain, number, Work, Work];
const TABLE: readonly Row[] = [
  [
    'two_step',
    'strict',
    1,
    work({ iovaAllocations: 1, maps: PAGES, syncs: 1 }),
    work({ unmaps: 1, flushes: 1, iovaFrees: 1 }),
  ],
  ['two_step', 'lazy', 1, work({ iovaAllocations: 1, maps: PAGES, syncs: 1 }), work({ unmaps: 1, queueEntries: 1 })],
  ['two_step', 'passthrough', PAGES, NOTHING, NOTHING],
  ['map_phys', 'strict', PAGES, work(EVERY), work({ unmaps: PAGES, flushes: PAGES, iovaFrees: PAGES })],
  ['map_phys', 'lazy', PAGES, work(EVERY), work({ unmaps: PAGES, queueEntries: PAGES })],
  ['map_phys', 'passthrough', PAGES, NOTHING, NOTHING],
  ['map_sg', 'strict', 1, work({ iovaAllocations: 1, maps: PAGES }), work({ unmaps: 1, flushes: 1, iovaFrees: 1 })],
  ['map_sg', 'lazy', 1, work({ iovaAllocations: 1, maps: PAGES }), work({ unmaps: 1, queueEntries: 1 })],
  ['map_sg', 'passthrough', PAGES, NOTHING, NOTHING],
  // an unlink waits for its flush in every domain: the range is the driver's, and may be linked again at once
  [
    'two_step_per_page',
    'strict',
    1,
    work({ iovaAllocations: 1, maps: PAGES, syncs: PAGES }),
    work({ unmaps: PAGES, flushes: PAGES, iovaFrees: 1 }),
  ],
  [
    'two_step_per_page',
    'lazy',
    1,
    work({ iovaAllocations: 1, maps: PAGES, syncs: PAGES }),
    work({ unmaps: PAGES, flushes: PAGES, iovaFrees: 1 }),
  ],
  ['two_step_per_page', 'passthrough', PAGES, NOTHING, NOTHING],
  // nothing of the memory is a peer's, so these do what the two-step API does
  ...(['uniform_only', 'uniform_split', 'hybrid'] as const).flatMap((name): Row[] => [
    [
      name,
      'strict',
      1,
      work({ iovaAllocations: 1, maps: PAGES, syncs: 1 }),
      work({ unmaps: 1, flushes: 1, iovaFrees: 1 }),
    ],
    [name, 'lazy', 1, work({ iovaAllocations: 1, maps: PAGES, syncs: 1 }), work({ unmaps: 1, queueEntries: 1 })],
    [name, 'passthrough', PAGES, NOTHING, NOTHING],
  ]),
  [
    'rfc_link_range',
    'strict',
    1,
    work({ iovaAllocations: 1, maps: PAGES }),
    work({ unmaps: PAGES, flushes: PAGES, iovaFrees: 1 }),
  ],
  ['rfc_link_range', 'lazy', 1, work({ iovaAllocations: 1, maps: PAGES }), work({ unmaps: PAGES, queueEntries: 1 })],
  ['rfc_link_range', 'passthrough', PAGES, NOTHING, NOTHING],
  // the flush queue is not exported, so it flushes in lazy domains too
  ...(['strict', 'lazy'] as const).map((domain): Row => [
    'iova_export',
    domain,
    1,
    work({ iovaAllocations: 1, maps: PAGES }),
    work({ unmaps: 1, flushes: 1, iovaFrees: 1 }),
  ]),
  ['iova_export', 'passthrough', PAGES, NOTHING, NOTHING],
  ['premapped', 'strict', 1, NOTHING, NOTHING],
  ['premapped', 'lazy', 1, NOTHING, NOTHING],
  ['premapped', 'passthrough', PAGES, NOTHING, NOTHING],
];

test.each(TABLE)(
  '%s, %s: %i ranges for the device, and the counts of the kernel’s code',
  (name, domain, ranges, mapping, unmapping) => {
    const seen = run(name, domain);
    expect(seen.ranges).toBe(ranges);
    expect({ mapping: seen.mapping, unmapping: seen.unmapping }).toEqual({ mapping, unmapping });
  },
);

describe.each(SCHEME_NAMES.filter((name) => name !== 'premapped'))('%s', (name) => {
  test('a buffer that begins inside a page keeps its offset, and gives back all that it took', () => {
    const { unmapping, mapping } = run(name, 'strict', scattered(0x200));
    expect(mapping.maps).toBe(PAGES);
    expect(unmapping.iovaFrees).toBe(mapping.iovaAllocations);
  });
});
