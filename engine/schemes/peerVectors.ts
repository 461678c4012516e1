/**
 * Which way the device goes to each vector of a request: ordinary memory and peers' memory may stand side by side in one region (Linux
 * drivers/pci/p2pdma.c decides; mm/hmm.c and block/blk-mq-dma.c ask in this way). A vector that switches route by its bus address needs no
 * mapping; one through the host bridge is mapped as registers are.
 * Leaves out: vectors that cross from one kind of memory into another; whoever builds them ends them there.
 */
import { DMA_ATTR_MMIO } from '../dma/attributes.ts';
import type { DmaDevice } from '../dma/device.ts';
import type { DmaApi } from '../dma/dmaApi.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import { P2pdmaMapState, type P2pdmaMapType } from '../dma/p2pdmaState.ts';
import type { Cpu } from '../time/cpu.ts';
import type { MappedRequest } from './mappedRequest.ts';
import type { MappingRequest } from './mappingRequest.ts';

const IN_WORDS = {
  none: 'ordinary memory',
  bus_addr: 'a peer’s memory behind a common switch',
  thru_host_bridge: 'a peer’s memory through the host bridge',
  not_supported: 'a peer’s memory out of reach',
} as const;

/** What the memory is that is reached in a way, for people. */
export function inWords(way: P2pdmaMapType): string {
  return IN_WORDS[way];
}

/** What the mapping call of a vector gets besides the caller's own attributes. */
export function attributesOf(way: P2pdmaMapType): number {
  return way === 'thru_host_bridge' ? DMA_ATTR_MMIO : 0;
}

/** The address by which switches route to a vector. */
export function busAddressOf(dma: DmaApi, phys: number): number {
  return phys + (dma.p2pdmaProviderOf(Math.floor(phys / PAGE_SIZE))?.busOffset ?? 0);
}

/**
 * Fills `mapped.ways`, one for each vector. `uniform`: the caller knows that the first vector speaks for all. False: a vector cannot be
 * reached, and `mapped.refusal` says which.
 */
export function findWays(
  dma: DmaApi,
  device: DmaDevice,
  cpu: Cpu,
  request: MappingRequest,
  mapped: MappedRequest,
  uniform: boolean,
): boolean {
  const { ways } = mapped;
  ways.length = 0;
  // a machine without peers has nothing to ask about
  if (dma.pageKinds === null) return true;
  const state = new P2pdmaMapState();
  for (let index = 0; index < request.vectorCount; index += 1) {
    if (uniform && index > 0) {
      ways.push(ways[0]!);
      continue;
    }
    const phys = request.vectorPhys[index]!;
    const way = dma.pciP2pdmaState(cpu, device, Math.floor(phys / PAGE_SIZE), state);
    if (way === 'not_supported') {
      mapped.refuse(
        `Vector ${index}, at physical address 0x${phys.toString(16)}, is memory of a peer that ${device.name} cannot reach: ` +
          'no switch routes between the two, and the host bridge is not known to do so.',
      );
      return false;
    }
    ways.push(way);
  }
  return true;
}

/** The way to a vector, as `findWays` found it. */
export function wayOf(mapped: MappedRequest, index: number): P2pdmaMapType {
  return mapped.ways[index] ?? 'none';
}
