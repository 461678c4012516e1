/**
 * A driver that keeps to the rules hears nothing from the checker, whatever it does and in whatever order: single mappings,
 * scatterlists, coherent memory and two-step ranges, in every domain, with accesses of the device in between.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { PAGE_SIZE } from '../../memory/addresses.ts';
import { HMM_PFN_VALID, HMM_PFN_WRITE } from '../../memory/hmmPfn.ts';
import { P2pdmaMapState } from '../../pcie/p2pdma.ts';
import { DMA_FROM_DEVICE, DMA_TO_DEVICE, type DmaDirection } from '../attributes.ts';
import type { DomainType } from '../device.ts';
import { HmmDmaMap, hmmDmaMapAlloc, hmmDmaMapFree, hmmDmaMapPfn, hmmDmaUnmapPfn } from '../hmmDma.ts';
import type { KernelProfileName } from '../kernels/profiles.ts';
import { ScatterList } from '../scatterList.ts';
import { DmaIovaState } from '../twoStep.ts';
import { CheckedMachine } from './testCheckedMachine.ts';

interface Step {
  readonly kind: 'single' | 'list' | 'range' | 'coherent';
  readonly pages: number;
  readonly offset: number;
  readonly write: boolean;
  /** Which live mapping goes next, and whether one goes at all. */
  readonly end: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom('single', 'list', 'range', 'coherent'),
  pages: fc.integer({ min: 1, max: 12 }),
  offset: fc.integer({ min: 0, max: 15 }).map((blocks) => blocks * 256),
  write: fc.boolean(),
  end: fc.integer({ min: 0, max: 9 }),
});

function run(machine: CheckedMachine, steps: readonly Step[]): void {
  const { api, cpu, device } = machine;
  const live: (() => void)[] = [];
  let nextPage = 0x2000;
  const use = (address: number, size: number, write: boolean): void => {
    for (let page = Math.floor(address / PAGE_SIZE); page * PAGE_SIZE < address + size; page += 1) {
      machine.touch(page * PAGE_SIZE, write);
    }
  };
  for (const { kind, pages, offset, write, end } of steps) {
    const direction: DmaDirection = write ? DMA_FROM_DEVICE : DMA_TO_DEVICE;
    // memory of its own for each mapping, every second page of it, so that pieces do not join
    const pieces = Array.from({ length: pages }, (_, index) => (nextPage + 2 * index) * PAGE_SIZE);
    nextPage += 2 * pages;
    if (kind === 'single') {
      const size = PAGE_SIZE - offset;
      const address = api.dmaMapPhys(cpu, device, pieces[0]! + offset, size, direction, 0);
      if (api.dmaMappingError(device, address)) continue;
      use(address, size, write);
      live.push(() => api.dmaUnmapPhys(cpu, device, address, size, direction, 0));
    } else if (kind === 'list') {
      const list = new ScatterList();
      for (const phys of pieces) list.add(phys, PAGE_SIZE);
      const segments = api.dmaMapSg(cpu, device, list, direction, 0);
      if (segments <= 0) continue;
      for (let index = 0; index < segments; index += 1) use(list.dmaAddress[index]!, list.dmaLength[index]!, write);
      live.push(() => api.dmaUnmapSg(cpu, device, list, direction, 0));
    } else if (kind === 'coherent') {
      const memory = api.dmaAllocCoherent(cpu, device, pages * PAGE_SIZE);
      if (memory === null) continue;
      use(memory.address, pages * PAGE_SIZE, write);
      live.push(() => api.dmaFreeCoherent(cpu, device, pages * PAGE_SIZE, memory));
    } else {
      const state = new DmaIovaState();
      const length = pages * PAGE_SIZE - offset;
      if (!api.dmaIovaTryAlloc(cpu, device, state, pieces[0]! + offset, length)) continue;
      let linked = 0;
      for (const [index, phys] of pieces.entries()) {
        const size = index === 0 ? PAGE_SIZE - offset : PAGE_SIZE;
        expect(
          api.dmaIovaLink(cpu, device, state, index === 0 ? phys + offset : phys, linked, size, direction, 0),
        ).toBe(0);
        linked += size;
      }
      api.dmaIovaSync(cpu, device, state, 0, linked);
      use(state.address, linked, write);
      live.push(() => api.dmaIovaDestroy(cpu, device, state, linked, direction, 0));
    }
    if (end < 6 && live.length > 0) live.splice(end % live.length, 1)[0]?.();
  }
  for (const finish of live) finish();
  api.driverUnbound(cpu, device);
}

it.each<[DomainType, KernelProfileName]>([
  ['strict', '7.3'],
  ['lazy', '7.3'],
  ['lazy', '6.17'],
  ['strict', '6.12'],
  ['passthrough', '7.3'],
])('a correct driver is never reported (%s, Linux %s)', (domain, profile) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const machine = new CheckedMachine({ domain, profile });
      run(machine, steps);
      expect(machine.messages).toEqual([]);
      expect(machine.checker.freeEntries).toBe(machine.checker.totalEntries);
    }),
    { numRuns: 60, seed: 7 },
  );
});

it.each<DomainType>(['strict', 'lazy', 'passthrough'])(
  'nor is on-demand paging, whose pages come and go (%s)',
  (domain) => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(15), fc.boolean()), { maxLength: 80 }), (faults) => {
        const machine = new CheckedMachine({ domain });
        const { api, cpu, device } = machine;
        const map = new HmmDmaMap();
        const p2p = new P2pdmaMapState();
        expect(hmmDmaMapAlloc(cpu, api, device, map, 16, PAGE_SIZE)).toBe(0);
        const { pages, flags } = map.pfns;
        for (const [index, wanted] of faults) {
          if (wanted) {
            pages[index] = 0x3000 + index;
            flags[index]! |= HMM_PFN_VALID | HMM_PFN_WRITE;
            const address = hmmDmaMapPfn(cpu, api, device, map, index, p2p);
            machine.touch(address, true);
          } else hmmDmaUnmapPfn(cpu, api, device, map, index);
        }
        for (let index = 0; index < 16; index += 1) hmmDmaUnmapPfn(cpu, api, device, map, index);
        hmmDmaMapFree(cpu, api, device, map);
        api.driverUnbound(cpu, device);
        expect(machine.messages).toEqual([]);
      }),
      { numRuns: 60, seed: 8 },
    );
  },
);
