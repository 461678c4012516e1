import { describe, expect, test } from 'vitest';
import { PageKinds, type P2pdmaProvider } from '../memory/pageKinds.ts';
import type { P2pdmaMapType } from '../pcie/p2pdma.ts';
import { DMA_FROM_DEVICE } from './attributes.ts';
import { EREMOTEIO } from './errno.ts';
import { ScatterList } from './scatterList.ts';
import { TestMachine } from './testMachine.ts';

const PAGE = 4096;
const WINDOW = 0x1_4000_0000;
const RAM = 0x1000_0000;
const provider: P2pdmaProvider = { name: '0000:01:00.0', busOffset: 0x1000_0000, sourceId: 0x100 };

/** A machine that reaches the peer's window in this way, and the times that it was asked. */
function withPeer(type: P2pdmaMapType): { readonly machine: TestMachine; readonly asked: () => number } {
  const pageKinds = new PageKinds();
  pageKinds.setRange(WINDOW / PAGE, 256, provider);
  let asked = 0;
  const mapType = (): P2pdmaMapType => {
    asked += 1;
    return type;
  };
  return { machine: new TestMachine({ pageKinds, p2pdma: { mapType } }), asked: () => asked };
}

function listOf(...entries: readonly (readonly [number, number])[]): ScatterList {
  const list = new ScatterList(4);
  for (const [phys, length] of entries) list.add(phys, length);
  return list;
}

function segments(list: ScatterList): [number, number][] {
  return Array.from({ length: list.mappedCount }, (_, index) => [list.dmaAddress[index]!, list.dmaLength[index]!]);
}

describe("dma_map_sg of a peer's memory (drivers/iommu/dma-iommu.c, iommu_dma_map_sg)", () => {
  test('what switches route keeps its bus address; what surrounds it is mapped as one range, and not joined', () => {
    const { machine, asked } = withPeer('bus_addr');
    const { api, cpu, device } = machine;
    const list = listOf(
      [RAM, PAGE],
      [WINDOW, 0x800],
      [WINDOW + PAGE, PAGE],
      [RAM + 4 * PAGE, PAGE],
      [RAM + 8 * PAGE, PAGE],
    );
    expect(api.dmaMapSg(cpu, device, list, DMA_FROM_DEVICE, 0)).toBe(4);
    expect(segments(list)).toEqual([
      [0xffff_c000, PAGE],
      [WINDOW + provider.busOffset, 0x800],
      [WINDOW + PAGE + provider.busOffset, PAGE],
      [0xffff_d000, 2 * PAGE],
    ]);
    expect([...list.busAddress.subarray(0, 4)]).toEqual([0, 1, 1, 0]);
    expect(asked()).toBe(1);
    expect(machine.takeEvents().slice(0, -1)).toEqual([
      'alloc 3 below fffff -> ffffc slow 1 of 4',
      'map ffffc000 10000000 4096',
      'map ffffd000 10004000 4096',
      'map ffffe000 10008000 4096',
    ]);
    api.dmaUnmapSg(cpu, device, list, DMA_FROM_DEVICE, 0);
    expect(machine.takeEvents().slice(1)).toEqual([
      'unmap ffffc000 12288 12288',
      'flush ffffc000-ffffefff ffffc000 mask 2',
      'qi page ffffc000 2 hint',
      'free ffffc 3',
    ]);
  });

  test('memory that joins across a peer is one map: bus addresses are passed over', () => {
    const { machine } = withPeer('bus_addr');
    const { api, cpu, device } = machine;
    const list = listOf([WINDOW, PAGE], [RAM, PAGE], [RAM + PAGE, PAGE], [WINDOW + PAGE, PAGE]);
    expect(api.dmaMapSg(cpu, device, list, DMA_FROM_DEVICE, 0)).toBe(3);
    expect(machine.takeEvents()[1]).toBe('map ffffe000 10000000 8192');
    api.dmaUnmapSg(cpu, device, list, DMA_FROM_DEVICE, 0);
    expect(machine.takeEvents()[1]).toBe('unmap ffffe000 8192 8192');
  });

  test('a list of bus addresses only takes no IOVA, and its unmap does nothing', () => {
    const { machine } = withPeer('bus_addr');
    const { api, cpu, device } = machine;
    const list = listOf([WINDOW, PAGE], [WINDOW + PAGE, PAGE]);
    expect(api.dmaMapSg(cpu, device, list, DMA_FROM_DEVICE, 0)).toBe(2);
    api.dmaUnmapSg(cpu, device, list, DMA_FROM_DEVICE, 0);
    expect(machine.takeEvents()).toEqual(['dma_map_sg = 2', 'dma_unmap_sg = 0']);
  });

  test('what goes through the host bridge is mapped like RAM', () => {
    const { machine } = withPeer('thru_host_bridge');
    const { api, cpu, device } = machine;
    const list = listOf([WINDOW, PAGE], [RAM, PAGE]);
    expect(api.dmaMapSg(cpu, device, list, DMA_FROM_DEVICE, 0)).toBe(1);
    expect(machine.deviceSees(0xffff_e000, true)).toBe(WINDOW / PAGE);
    expect(list.hasBusAddresses).toBe(false);
  });

  test('a peer out of reach fails the whole list before anything is allocated', () => {
    const { machine } = withPeer('not_supported');
    const { api, cpu, device } = machine;
    const list = listOf([RAM, PAGE], [WINDOW, PAGE]);
    expect(api.dmaMapSg(cpu, device, list, DMA_FROM_DEVICE, 0)).toBe(EREMOTEIO);
    expect(machine.takeEvents()).toEqual(['dma_map_sg = ~0']);
  });
});
