import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { P2pdmaProvider } from '../../memory/pageKinds.ts';
import { DMA_BIDIRECTIONAL } from '../attributes.ts';
import { dmaBitMask } from '../device.ts';
import { EADDRINUSE, EINVAL } from '../errno.ts';
import type { ScatterList } from '../scatterList.ts';
import { DmaBuf, type DmaBufAttachment } from './dmaBuf.ts';
import { totalLength, type PhysVec } from './physicalRange.ts';
import { dmaBufFreeSgt, dmaBufPhysVecToSgt, LARGEST_ENTRY, type PhysVecScatterList } from './physVec.ts';
import { BRIDGE_PEER, BRIDGE_WINDOW, FAR_PEER, PeerMachine, SWITCH_PEER, SWITCH_WINDOW } from './testPeers.ts';

const PAGE = 4096;
const GIBIBYTE = 2 ** 30;

function attachTo(machine: PeerMachine, size: number): DmaBufAttachment {
  const exporter = { map: () => EINVAL, unmap: () => undefined };
  const buffer = new DmaBuf({ name: 'bar', size, exporter, events: null });
  const attachment = buffer.attach(machine.api, machine.device, { allowPeer2peer: true });
  if (typeof attachment === 'number') throw new Error('the exporter refuses nobody');
  buffer.reservation.lock();
  return attachment;
}

function mapVectors(
  machine: PeerMachine,
  provider: P2pdmaProvider,
  vectors: readonly PhysVec[],
): { attachment: DmaBufAttachment; list: PhysVecScatterList | number } {
  const size = totalLength(vectors);
  const attachment = attachTo(machine, size);
  return { attachment, list: dmaBufPhysVecToSgt(machine.cpu, attachment, provider, vectors, size, DMA_BIDIRECTIONAL) };
}

function entriesOf(list: ScatterList): [number, number][] {
  return Array.from({ length: list.mappedCount }, (_, index) => [list.dmaAddress[index]!, list.dmaLength[index]!]);
}

function mapped(list: PhysVecScatterList | number): PhysVecScatterList {
  if (typeof list === 'number') throw new Error(`the mapping failed: ${String(list)}`);
  return list;
}

const TWO_RANGES = [
  { phys: BRIDGE_WINDOW, length: 2 * PAGE },
  { phys: BRIDGE_WINDOW + 8 * PAGE, length: PAGE },
];

describe('dma_buf_phys_vec_to_sgt (drivers/dma-buf/dma-buf-mapping.c of 6.19)', () => {
  test('through the host bridge: every range is linked after the one before, one sync, one run', () => {
    const machine = new PeerMachine();
    const { attachment, list } = mapVectors(machine, BRIDGE_PEER, TWO_RANGES);
    expect(machine.takeEvents()).toEqual([
      'dma_iova_try_alloc = 1',
      'alloc 3 below fffff -> ffffc slow 1 of 4',
      'dma_iova_link = 0',
      'map ffffc000 f1000000 8192',
      'dma_iova_link = 0',
      'map ffffe000 f1008000 4096',
      'dma_iova_sync = 0',
    ]);
    expect(entriesOf(mapped(list))).toEqual([[0xffff_c000, 3 * PAGE]]);
    expect(mapped(list).count).toBe(0);
    dmaBufFreeSgt(machine.cpu, attachment, mapped(list), DMA_BIDIRECTIONAL);
    expect(machine.takeTableEvents()).toEqual([
      'unmap ffffc000 12288 12288',
      'flush ffffc000-ffffefff ffffc000 mask 2',
      'free ffffc 3',
    ]);
  });

  test('by bus address: one entry for each range, and no call of the DMA API', () => {
    const machine = new PeerMachine();
    const vectors = [
      { phys: SWITCH_WINDOW, length: PAGE },
      { phys: SWITCH_WINDOW + PAGE, length: PAGE },
    ];
    const { attachment, list } = mapVectors(machine, SWITCH_PEER, vectors);
    expect(entriesOf(mapped(list))).toEqual([
      [0xe000_0000, PAGE],
      [0xe000_1000, PAGE],
    ]);
    dmaBufFreeSgt(machine.cpu, attachment, mapped(list), DMA_BIDIRECTIONAL);
    expect(machine.takeEvents()).toEqual([]);
  });

  test('without translation: one mapping and one entry for each range', () => {
    const machine = new PeerMachine({ domain: 'passthrough' });
    const { list } = mapVectors(machine, BRIDGE_PEER, TWO_RANGES);
    expect(entriesOf(mapped(list))).toEqual([
      [BRIDGE_WINDOW, 2 * PAGE],
      [BRIDGE_WINDOW + 8 * PAGE, PAGE],
    ]);
  });

  test('out of IOVA for the whole: each range has its own, and gives it back', () => {
    const reservedRegions = [
      { start: 0, end: 0xffff_7fff },
      { start: 0xffff_c000, end: 0xffff_cfff },
    ];
    const machine = new PeerMachine({ device: { dmaMask: dmaBitMask(32), reservedRegions } });
    const vectors = [0, 4, 8].map((page) => ({ phys: BRIDGE_WINDOW + page * PAGE, length: 2 * PAGE }));
    const { attachment, list } = mapVectors(machine, BRIDGE_PEER, vectors);
    expect(entriesOf(mapped(list)).map(([address]) => machine.deviceSees(address))).toEqual(
      vectors.map(({ phys }) => phys / PAGE),
    );
    const addresses = entriesOf(mapped(list)).map(([address]) => address);
    dmaBufFreeSgt(machine.cpu, attachment, mapped(list), DMA_BIDIRECTIONAL);
    expect(addresses.map((address) => machine.deviceSees(address))).toEqual([null, null, null]);
  });

  test('a peer that no way leads to is -EINVAL', () => {
    const machine = new PeerMachine();
    expect(mapVectors(machine, FAR_PEER, TWO_RANGES).list).toBe(EINVAL);
  });

  test.each([0, 1])('a failing link of range %i gives everything back', (failing) => {
    const machine = new PeerMachine();
    const { api, cpu, device } = machine;
    const occupied = 0xffff_c000 + (failing === 0 ? 0 : 2 * PAGE);
    api.translatedDevice(device)!.domain.map(cpu, occupied, 0x5000, PAGE, DMA_BIDIRECTIONAL);
    expect(mapVectors(machine, BRIDGE_PEER, TWO_RANGES).list).toBe(EADDRINUSE);
    expect(machine.counters.get('iovaFree')).toBe(1);
    expect(machine.deviceSees(0xffff_d000)).toBeNull();
  });

  test('lengths beyond 4 GiB stay whole: entries of whole pages below 4 GiB', () => {
    const machine = new PeerMachine();
    const { list } = mapVectors(machine, SWITCH_PEER, [{ phys: SWITCH_WINDOW, length: 9 * GIBIBYTE }]);
    expect(entriesOf(mapped(list))).toEqual([
      [0xe000_0000, LARGEST_ENTRY],
      [0xe000_0000 + LARGEST_ENTRY, LARGEST_ENTRY],
      [0xe000_0000 + 2 * LARGEST_ENTRY, 9 * GIBIBYTE - 2 * LARGEST_ENTRY],
    ]);
  });

  test('the entries cover the ranges in order, whatever they are', () => {
    const vector = fc.record({ page: fc.nat(50), pages: fc.integer({ min: 1, max: 6 }) });
    fc.assert(
      fc.property(fc.array(vector, { minLength: 1, maxLength: 8 }), fc.boolean(), (vectors, bridge) => {
        const machine = new PeerMachine();
        const [provider, window] = bridge ? [BRIDGE_PEER, BRIDGE_WINDOW] : [SWITCH_PEER, SWITCH_WINDOW];
        const ranges = vectors.map(({ page, pages }) => ({ phys: window + page * PAGE, length: pages * PAGE }));
        const expected = ranges.flatMap(({ phys, length }) =>
          Array.from({ length: length / PAGE }, (_, index) => phys / PAGE + index),
        );
        const { attachment, list } = mapVectors(machine, provider, ranges);
        const seen = entriesOf(mapped(list)).flatMap(([address, length]) =>
          Array.from({ length: length / PAGE }, (_, index) =>
            bridge ? machine.deviceSees(address + index * PAGE) : (address - SWITCH_PEER.busOffset) / PAGE + index,
          ),
        );
        expect(seen).toEqual(expected);
        dmaBufFreeSgt(machine.cpu, attachment, mapped(list), DMA_BIDIRECTIONAL);
        const { counters } = machine;
        expect(counters.get('iovaFree')).toBe(counters.get('iovaAllocFast') + counters.get('iovaAllocSlow'));
      }),
      { numRuns: 50, seed: 3 },
    );
  });
});
