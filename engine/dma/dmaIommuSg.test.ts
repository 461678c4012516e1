import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DMA_FROM_DEVICE } from './attributes.ts';
import { EINVAL } from './errno.ts';
import { ScatterList } from './scatterList.ts';
import { TestMachine, type TestMachineOptions } from './testMachine.ts';

const PAGE = 4096;

interface Mapped {
  readonly machine: TestMachine;
  readonly list: ScatterList;
  readonly result: number;
  readonly segments: readonly (readonly [number, number])[];
}

function mapSg(entries: readonly (readonly [number, number])[], device: TestMachineOptions['device'] = {}): Mapped {
  const machine = new TestMachine({ device });
  const list = new ScatterList(1);
  for (const [phys, length] of entries) list.add(phys, length);
  const result = machine.api.dmaMapSg(machine.cpu, machine.device, list, DMA_FROM_DEVICE, 0);
  const segments = Array.from(
    { length: list.mappedCount },
    (_, index) => [list.dmaAddress[index]!, list.dmaLength[index]!] as const,
  );
  return { machine, list, result, segments };
}

describe('dma_map_sg behind an IOMMU (iommu_dma_map_sg, __finalise_sg)', () => {
  test('32 scattered pages become one range, 32 maps, one segment; one unmap and one flush', () => {
    const { machine, list, segments } = mapSg(
      Array.from({ length: 32 }, (_, index) => [0x1000_0000 + index * 2 * PAGE, PAGE]),
      { maxSegmentSize: 0xffff_ffff },
    );
    expect(segments).toEqual([[0xfffe_0000, 32 * PAGE]]);
    expect(machine.counters.get('iommuMaps')).toBe(32);
    machine.takeEvents();
    machine.api.dmaUnmapSg(machine.cpu, machine.device, list, DMA_FROM_DEVICE, 0);
    expect(machine.takeEvents()).toEqual([
      'dma_unmap_sg = 0',
      'unmap fffe0000 131072 131072',
      'flush fffe0000-ffffffff fffe0000 mask 5',
      'qi page fffe0000 5 hint',
      'free fffe0 32',
    ]);
  });

  test('entries that follow each other physically share one map', () => {
    const { machine } = mapSg([
      [0x1000, PAGE],
      [0x2000, PAGE],
      [0x9000, PAGE],
    ]);
    expect(machine.takeEvents().filter((event) => event.startsWith('map'))).toEqual([
      'map ffffc000 1000 8192',
      'map ffffe000 9000 4096',
    ]);
  });

  test('an entry joins only if the one before ends on a page and it begins on one', () => {
    const { segments } = mapSg([
      [0x1e00, 0x200],
      [0x5000, 0x800],
      [0x8000, PAGE],
      [0xa100, 0x100],
    ]);
    expect(segments).toEqual([
      [0xffff_ce00, 0xa00],
      [0xffff_e000, PAGE],
      [0xffff_f100, 0x100],
    ]);
  });

  test('segments end at max_seg_size', () => {
    const { segments } = mapSg(
      [
        [0x1000, PAGE],
        [0x5000, PAGE],
        [0x9000, PAGE],
      ],
      { maxSegmentSize: 2 * PAGE },
    );
    expect(segments.map(([, length]) => length)).toEqual([2 * PAGE, PAGE]);
  });

  test('a segment that is already too long takes the next entry: the subtraction wraps at 32 bits', () => {
    // recorded on 7.3: max_seg_size 4096, 65536 + 65536 -> one segment of 131072
    const { segments } = mapSg(
      [
        [0x10_0000, 0x1_0000],
        [0x30_0000, 0x1_0000],
      ],
      { maxSegmentSize: PAGE },
    );
    expect(segments.map(([, length]) => length)).toEqual([0x2_0000]);
  });

  test('an entry that would cross the segment boundary starts on it, behind padding', () => {
    const { machine, segments } = mapSg(
      [
        [0x1000, 3 * PAGE],
        [0x9000, 2 * PAGE],
      ],
      { segBoundaryMask: 4 * PAGE - 1 },
    );
    expect(segments.map(([, length]) => length)).toEqual([3 * PAGE, 2 * PAGE]);
    expect(segments[1]![0] % (4 * PAGE)).toBe(0);
    expect(machine.takeEvents().filter((event) => event.startsWith('map'))).toEqual([
      'map ffff8000 1000 16384',
      'map ffffc000 9000 8192',
    ]);
  });

  test('an empty list is an error', () => {
    expect(mapSg([]).result).toBe(EINVAL);
  });

  test('segments cover every byte in order, keep to the limits, and the device finds each one', () => {
    const entry = fc.tuple(fc.integer({ min: 0x1000, max: 0x3_ffff }), fc.integer({ min: 1, max: 3 * PAGE }));
    const boundary = fc.constantFrom(0xffff, 0xf_ffff, 0xffff_ffff);
    fc.assert(
      fc.property(fc.array(entry, { minLength: 1, maxLength: 12 }), boundary, (entries, segBoundaryMask) => {
        const { machine, segments } = mapSg(entries, { segBoundaryMask, maxSegmentSize: 4 * PAGE });
        let entryIndex = 0;
        let inEntry = 0;
        for (const [address, length] of segments) {
          expect(Math.floor(address / (segBoundaryMask + 1))).toBe(
            Math.floor((address + length - 1) / (segBoundaryMask + 1)),
          );
          for (let byte = 0; byte < length; byte += 512) {
            // find the entry byte that this byte of the segment stands for
            let at = byte;
            let index = entryIndex;
            let offset = inEntry;
            while (at >= entries[index]![1] - offset) {
              at -= entries[index]![1] - offset;
              index += 1;
              offset = 0;
            }
            const phys = entries[index]![0] + offset + at;
            expect(machine.deviceSees(address + byte, true)).toBe(Math.floor(phys / PAGE));
            expect((address + byte) % PAGE).toBe(phys % PAGE);
          }
          let left = length;
          while (left > 0) {
            const rest = entries[entryIndex]![1] - inEntry;
            const step = Math.min(rest, left);
            left -= step;
            inEntry += step;
            if (inEntry === entries[entryIndex]![1]) {
              entryIndex += 1;
              inEntry = 0;
            }
          }
        }
        expect(entryIndex).toBe(entries.length);
      }),
      { numRuns: 60 },
    );
  });
});

describe('segment boundaries that no hardware has (dma_set_seg_boundary takes any mask)', () => {
  const pages = (count: number): [number, number][] =>
    Array.from({ length: count }, (_, index): [number, number] => [0x1000_0000 + index * 2 * PAGE, PAGE]);

  test('the bits of the mask decide, one by one, where an entry may not join', () => {
    // of the pages from ffff8000 on, only the first and the third have both bits clear
    const { segments } = mapSg(pages(8), { segBoundaryMask: 0x5000, maxSegmentSize: 0xffff_ffff });
    expect(segments).toEqual([
      [0xffff_8000, 2 * PAGE],
      [0xffff_a000, 6 * PAGE],
    ]);
  });

  test('no boundary at all', () => {
    const { segments } = mapSg(pages(8), { segBoundaryMask: 2 ** 64, maxSegmentSize: 0xffff_ffff });
    expect(segments).toEqual([[0xffff_8000, 8 * PAGE]]);
  });
});

describe('a list that meets a mapping which somebody left (iommu_map_sg)', () => {
  test.each([
    ['at once', 0, ['map ffffc000 1000 0', 'unmap ffffc000 0 0', 'unmap ffffc000 0 0']],
    [
      'at its second run',
      1,
      ['map ffffc000 1000 4096', 'map ffffd000 9000 0', 'unmap ffffd000 0 0', 'unmap ffffc000 4096 4096'],
    ],
  ])('undoes what it did before and gives the range back: %s', (_when, page, undone) => {
    const machine = new TestMachine();
    const { api, cpu, device } = machine;
    const leftBehind = api.translatedDevice(device)!.domain;
    leftBehind.map(cpu, 0xffff_c000 + page * PAGE, 0x7000, PAGE, DMA_FROM_DEVICE);
    machine.takeEvents();
    const list = new ScatterList(3);
    for (const phys of [0x1000, 0x9000, 0x5000]) list.add(phys, PAGE);
    expect(api.dmaMapSg(cpu, device, list, DMA_FROM_DEVICE, 0)).toBe(EINVAL);
    const events = machine.takeEvents();
    expect(events.filter((event) => /^(un)?map/.test(event))).toEqual(undone);
    expect(events.filter((event) => event.startsWith('free'))).toEqual(['free ffffc 3']);
  });
});
