import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DMA_BIDIRECTIONAL } from '../attributes.ts';
import { ApiChecker } from '../checker/apiChecker.ts';
import { CheckedDmaApi } from '../checker/checkedDmaApi.ts';
import { dmaCostParameters, resolveDmaCosts } from '../kernels/costs.ts';
import { createDmaDevice, type DomainType } from '../device.ts';
import { EADDRINUSE, EINVAL, EREMOTEIO } from '../errno.ts';
import { kernelProfile } from '../kernels/profiles.ts';
import type { PhysicalRange } from './physicalRange.ts';
import { RangeMapping } from './rangeMapping.ts';
import {
  BRIDGE_PEER,
  BRIDGE_WINDOW,
  FAR_PEER,
  FAR_WINDOW,
  PeerMachine,
  SWITCH_PEER,
  SWITCH_WINDOW,
} from './testPeers.ts';

const PAGE = 4096;
const RAM = 0x1_2000_0000;

const ram = (page: number, pages: number): PhysicalRange => ({
  phys: RAM + page * PAGE,
  length: pages * PAGE,
  provider: null,
});
const overSwitch = (page: number, pages: number): PhysicalRange => ({
  phys: SWITCH_WINDOW + page * PAGE,
  length: pages * PAGE,
  provider: SWITCH_PEER,
});
const overBridge = (page: number, pages: number): PhysicalRange => ({
  phys: BRIDGE_WINDOW + page * PAGE,
  length: pages * PAGE,
  provider: BRIDGE_PEER,
});

function mappingOn(machine: PeerMachine): RangeMapping {
  return new RangeMapping(machine.api, machine.device, DMA_BIDIRECTIONAL);
}

/** Where the device ends up at a byte of the buffer: a page behind the IOMMU, or the peer's page of a bus address. */
function reached(machine: PeerMachine, mapping: RangeMapping, offset: number): number | null {
  const address = mapping.addressOf(offset);
  const ofSwitch = address - SWITCH_PEER.busOffset - SWITCH_WINDOW;
  if (ofSwitch >= 0 && ofSwitch < 64 * PAGE) return Math.floor((SWITCH_WINDOW + ofSwitch) / PAGE);
  return machine.translates ? machine.deviceSees(address) : Math.floor(address / PAGE);
}

describe('a buffer of mixed memory as a list of ranges (the 2024 proposal over drivers/iommu/dma-iommu.c)', () => {
  test('takes one IOVA for all that needs one, links each range, and synchronises once', () => {
    const machine = new PeerMachine();
    const mapping = mappingOn(machine);
    expect(mapping.map(machine.cpu, [ram(0, 2), overBridge(4, 1), overSwitch(7, 3), ram(100, 1)])).toBe(0);
    expect(machine.takeEvents()).toEqual([
      'dma_iova_try_alloc = 1',
      'alloc 4 below fffff -> ffffc slow 1 of 4',
      'dma_iova_link = 0',
      'map ffffc000 120000000 8192',
      'dma_iova_link = 0',
      'map ffffe000 f1004000 4096',
      'dma_iova_link = 0',
      'map fffff000 120064000 4096',
      'dma_iova_sync = 0',
    ]);
    expect(mapping.runs).toEqual([
      { address: 0xffff_c000, length: 3 * PAGE },
      { address: 0xe000_7000, length: 3 * PAGE },
      { address: 0xffff_f000, length: PAGE },
    ]);
  });

  test('unlinks each kind with the attributes it was linked with, and gives the range back', () => {
    const machine = new PeerMachine();
    const mapping = mappingOn(machine);
    mapping.map(machine.cpu, [ram(0, 2), overBridge(4, 1), overBridge(9, 1), ram(100, 1)]);
    machine.takeEvents();
    mapping.unmap(machine.cpu);
    expect(machine.takeTableEvents()).toEqual([
      'unmap ffff8000 8192 8192',
      'flush ffff8000-ffff9fff ffff8000 mask 1',
      'unmap ffffa000 8192 8192',
      'flush ffffa000-ffffbfff ffffa000 mask 1',
      'unmap ffffc000 4096 4096',
      'flush ffffc000-ffffcfff ffffc000 mask 0',
      'free ffff8 5',
    ]);
  });

  test('a list of one kind is destroyed as a whole: one unmap, one flush', () => {
    const machine = new PeerMachine();
    const mapping = mappingOn(machine);
    mapping.map(machine.cpu, [ram(0, 1), ram(5, 2), ram(30, 1)]);
    machine.takeEvents();
    mapping.unmap(machine.cpu);
    expect(machine.takeTableEvents()).toEqual([
      'unmap ffffc000 16384 16384',
      'flush ffffc000-ffffffff ffffc000 mask 2',
      'free ffffc 4',
    ]);
  });

  test('asks once for the way to a peer whose ranges follow each other', () => {
    const machine = new PeerMachine();
    const mapping = mappingOn(machine);
    mapping.map(machine.cpu, [overSwitch(0, 1), ram(0, 1), overSwitch(8, 1), overBridge(0, 1), overSwitch(20, 1)]);
    expect(mapping.p2pLookups).toBe(3);
  });

  test('bus addresses alone take nothing from the DMA API', () => {
    const machine = new PeerMachine();
    const mapping = mappingOn(machine);
    expect(mapping.map(machine.cpu, [overSwitch(0, 4)])).toBe(0);
    expect(mapping.runs).toEqual([{ address: 0xe000_0000, length: 4 * PAGE }]);
    mapping.unmap(machine.cpu);
    expect(machine.takeEvents()).toEqual([]);
  });

  test('refuses a peer out of reach before it takes anything, and odd ranges', () => {
    const machine = new PeerMachine();
    const mapping = mappingOn(machine);
    const far = { phys: FAR_WINDOW, length: PAGE, provider: FAR_PEER };
    expect(mapping.map(machine.cpu, [ram(0, 2), far])).toBe(EREMOTEIO);
    expect(mapping.map(machine.cpu, [{ phys: RAM, length: 512, provider: null }])).toBe(EINVAL);
    expect(mapping.map(machine.cpu, [{ phys: RAM + 512, length: PAGE, provider: null }])).toBe(EINVAL);
    expect(machine.takeEvents()).toEqual([]);
    expect(mapping.map(machine.cpu, [ram(0, 1)])).toBe(0);
  });

  test('a link that fails in the middle leaves nothing behind', () => {
    const machine = new PeerMachine();
    const { api, cpu, device } = machine;
    const mapping = mappingOn(machine);
    // somebody else's mistake: a live leaf in the middle of what will be handed out next
    api.translatedDevice(device)!.domain.map(cpu, 0xffff_e000, 0x5000, PAGE, DMA_BIDIRECTIONAL);
    expect(mapping.map(cpu, [ram(0, 2), overBridge(0, 1), ram(9, 1)])).toBe(EADDRINUSE);
    expect([mapping.runs, mapping.iovaBytes]).toEqual([[], 0]);
    expect(machine.deviceSees(0xffff_c000)).toBeNull();
    expect(machine.counters.get('iovaFree')).toBe(1);
  });

  test.each([['passthrough'], ['none']] as const)(
    '%s: every range is mapped by itself, at its own address',
    (domain) => {
      const machine = new PeerMachine({ domain, iommu: domain === 'passthrough' });
      const mapping = mappingOn(machine);
      expect(mapping.map(machine.cpu, [ram(0, 2), overBridge(4, 1), overSwitch(7, 3)])).toBe(0);
      expect(mapping.runs.map((run) => run.address)).toEqual([RAM, BRIDGE_WINDOW + 4 * PAGE, 0xe000_7000]);
      mapping.unmap(machine.cpu);
    },
  );

  test('however the ranges are mixed, the device finds every page of the buffer, and everything comes back', () => {
    const kind = fc.constantFrom(ram, overSwitch, overBridge);
    const piece = fc.record({ kind, page: fc.nat(40), pages: fc.integer({ min: 1, max: 5 }) });
    const domain = fc.constantFrom<DomainType>('strict', 'lazy', 'passthrough', 'none');
    fc.assert(
      fc.property(fc.array(piece, { minLength: 1, maxLength: 12 }), domain, (pieces, domainType) => {
        const machine = new PeerMachine({ domain: domainType });
        const mapping = mappingOn(machine);
        const ranges = pieces.map(({ kind: of, page, pages }) => of(page, pages));
        for (let round = 0; round < 2; round += 1) {
          expect(mapping.map(machine.cpu, ranges)).toBe(0);
          let offset = 0;
          for (const { phys, length } of ranges) {
            for (let done = 0; done < length; done += PAGE) {
              expect(reached(machine, mapping, offset + done)).toBe((phys + done) / PAGE);
            }
            offset += length;
          }
          expect(mapping.addressOf(offset)).toBe(-1);
          mapping.unmap(machine.cpu);
          expect(mapping.addressOf(0)).toBe(-1);
        }
        machine.api.flushQueueTimer(machine.cpu, machine.device);
        const { counters } = machine;
        expect(counters.get('iovaFree')).toBe(counters.get('iovaAllocFast') + counters.get('iovaAllocSlow'));
      }),
      { numRuns: 60, seed: 7 },
    );
  });

  test.each<DomainType>(['strict', 'lazy', 'passthrough'])(
    'keeps to the rules of the API: the checker hears of nothing (%s)',
    (domain) => {
      const { memory, frames, iommu, counters, log, api: plain, cpu } = new PeerMachine();
      const checker = new ApiChecker({ mode: 'report', log, driver: 'importer' });
      const device = createDmaDevice({ name: '0000:00:04.0', sourceId: 0x20 });
      const costs = resolveDmaCosts(dmaCostParameters('recorded-instructions', '7.3'));
      const api = new CheckedDmaApi({
        ...{ memory, frames, iommu, counters, log, costs, checker },
        profile: kernelProfile('7.3'),
        trace: null,
        timers: null,
        cpus: 1,
        p2pdma: plain.p2pdma,
      });
      api.attach(device, domain);
      const mapping = new RangeMapping(api, device, DMA_BIDIRECTIONAL);
      for (const ranges of [
        [ram(0, 2), overBridge(4, 1), overSwitch(7, 3), ram(100, 1)],
        [ram(0, 4)],
        [overBridge(0, 9)],
      ]) {
        expect(mapping.map(cpu, ranges)).toBe(0);
        mapping.unmap(cpu);
      }
      api.driverUnbound(cpu, device);
      expect(checker.misuses.map(({ message }) => message)).toEqual([]);
    },
  );
});
