/**
 * One request of ordinary memory and of two peers' memory, one behind a common switch and one through the host bridge, under every scheme:
 * whatever a scheme does, the device must reach every byte in order or be refused with the reason, and all that was taken must be given back
 * (the rules of drivers/pci/p2pdma.c and mm/hmm.c; what must be remembered for the way back: the six cases of the thread).
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DMA_BIDIRECTIONAL } from '../dma/attributes.ts';
import type { DomainType } from '../dma/device.ts';
import { TestMachine, type TestMachineOptions } from '../dma/testMachine.ts';
import { takeWork, work } from '../dma/testMeter.ts';
import { PageKinds, type P2pdmaProvider } from '../memory/pageKinds.ts';
import { MappedRequest } from './mappedRequest.ts';
import { MappingRequest } from './mappingRequest.ts';
import { SCHEME_NAMES, type SchemeName } from './scheme.ts';
import { createScheme } from './schemes.ts';

const PAGE = 4096;
const RAM = 0x1000_0000;
const NEAR = 0x1_4000_0000;
const FAR = 0x1_5000_0000;
const ALONE = 0x1_6000_0000;
const near: P2pdmaProvider = { name: '0000:01:00.0', busOffset: 0x100_0000_0000, sourceId: 0x100 };
const far: P2pdmaProvider = { name: '0000:41:00.0', busOffset: 0, sourceId: 0x4100 };
const alone: P2pdmaProvider = { name: '0000:81:00.0', busOffset: 0, sourceId: 0x8100 };

function machineWithPeers(options: TestMachineOptions = {}): TestMachine {
  const pageKinds = new PageKinds();
  pageKinds.setRange(NEAR / PAGE, 256, near);
  pageKinds.setRange(FAR / PAGE, 256, far);
  pageKinds.setRange(ALONE / PAGE, 256, alone);
  return new TestMachine({
    profile: '7.2',
    device: { maxSegmentSize: 2 ** 32 - 1 },
    pageKinds,
    p2pdma: {
      mapType: (provider) => (provider === near ? 'bus_addr' : provider === far ? 'thru_host_bridge' : 'not_supported'),
    },
    ...options,
  });
}

/** Every second page of each place, so that no vector follows another. */
function requestOf(places: readonly number[]): MappingRequest {
  const request = new MappingRequest();
  request.reset(DMA_BIDIRECTIONAL);
  const taken = new Map<number, number>();
  for (const place of places) {
    const index = taken.get(place) ?? 0;
    taken.set(place, index + 1);
    request.addVector(place + index * 2 * PAGE, PAGE);
  }
  request.segments = places.length;
  return request;
}

function mapWith(machine: TestMachine, name: SchemeName, request: MappingRequest) {
  const scheme = createScheme(name, machine.api, machine.device, machine.api.profile, 'test');
  const mapped = MappedRequest.empty(4);
  takeWork(machine);
  const status = scheme.mapStart(machine.cpu, request, mapped);
  if (status === 'ok') while (scheme.mapNext(machine.cpu, request, mapped));
  if (mapped.status === 'ok') scheme.keepVectors(mapped);
  return { scheme, mapped, mapping: takeWork(machine) };
}

/** Where the pages of the device's list lie, by CPU physical address. */
function reached(machine: TestMachine, mapped: MappedRequest): number[] {
  const pages: number[] = [];
  const translated = machine.api.translatedDevice(machine.device);
  for (let range = 0; range < mapped.count; range += 1) {
    for (let done = 0; done < mapped.length[range]!; done += PAGE) {
      const address = mapped.address[range]! + done;
      const byBus = address - near.busOffset;
      if (byBus >= NEAR && byBus < NEAR + 256 * PAGE) pages.push(byBus);
      else pages.push(translated === null ? address : translated.domain.iovaToPhys(address));
    }
  }
  return pages;
}

const MIXED = [RAM, RAM, NEAR, NEAR, RAM, FAR, RAM];
const VECTORS = MIXED.length;
const TRANSLATED = 5;
const each = { iovaAllocations: TRANSLATED, maps: TRANSLATED };

describe('a hodgepodge in a strict domain', () => {
  test.each([
    ['map_sg', work({ iovaAllocations: 1, maps: TRANSLATED }), work({ unmaps: 1, flushes: 1, iovaFrees: 1 }), 4, 2],
    ['map_phys', work(each), work({ unmaps: 5, flushes: 5, iovaFrees: 5 }), VECTORS, 2],
    [
      'two_step',
      work({ iovaAllocations: 1, maps: TRANSLATED, syncs: 1 }),
      work({ unmaps: 1, flushes: 1, iovaFrees: 1 }),
      4,
      2,
    ],
    [
      'hybrid',
      work({ iovaAllocations: 1, maps: TRANSLATED, syncs: 1 }),
      work({ unmaps: 1, flushes: 1, iovaFrees: 1 }),
      4,
      2,
    ],
    [
      'two_step_per_page',
      work({ iovaAllocations: 1, maps: TRANSLATED, syncs: TRANSLATED }),
      work({ unmaps: TRANSLATED, flushes: TRANSLATED, iovaFrees: 1 }),
      4,
      2,
    ],
    // five runs of one kind, of which that behind the switch needs nothing
    [
      'uniform_split',
      work({ iovaAllocations: 4, maps: TRANSLATED, syncs: 4 }),
      work({ unmaps: 4, flushes: 4, iovaFrees: 4 }),
      6,
      4,
    ],
    [
      'iova_export',
      work({ iovaAllocations: 1, maps: TRANSLATED }),
      work({ unmaps: 1, flushes: 1, iovaFrees: 1 }),
      4,
      2,
    ],
  ] as const)('%s', (name, mappingWork, unmappingWork, ranges, lookups) => {
    const machine = machineWithPeers();
    const request = requestOf(MIXED);
    const { scheme, mapped, mapping } = mapWith(machine, name, request);
    expect(mapped.status).toBe('ok');
    expect(reached(machine, mapped)).toEqual([...request.vectorPhys.subarray(0, request.vectorCount)]);
    scheme.unmap(machine.cpu, request.direction, mapped);
    const unmapping = takeWork(machine);
    expect({ mapping, unmapping }).toEqual({ mapping: mappingWork, unmapping: unmappingWork });
    expect({ ranges: mapped.count, lookups: machine.counters.get('p2pdmaLookups') }).toEqual({ ranges, lookups });
  });

  test('uniform_only refuses it, and says where the first boundary lies and what to do', () => {
    const machine = machineWithPeers();
    const { mapped, mapping } = mapWith(machine, 'uniform_only', requestOf(MIXED));
    expect(mapped.status).toBe('inval');
    expect(mapped.boundary).toBe(2);
    expect(mapped.refusal).toMatch(
      /^Vector 2, at physical address 0x140000000, is a peer’s memory behind a common switch/u,
    );
    expect(mapping).toEqual(work());
  });

  test('uniform_only takes each of its runs', () => {
    for (const run of [[RAM, RAM], [NEAR, NEAR], [FAR]]) {
      const machine = machineWithPeers();
      const request = requestOf(run);
      const { mapped } = mapWith(machine, 'uniform_only', request);
      expect(reached(machine, mapped)).toEqual([...request.vectorPhys.subarray(0, request.vectorCount)]);
    }
  });

  test('the RFC of March 2024 refuses a peer, and takes RAM with a sync for each piece', () => {
    const machine = machineWithPeers();
    expect(mapWith(machine, 'rfc_link_range', requestOf(MIXED)).mapped.refusal).toMatch(/knew RAM only/u);
    const request = requestOf([RAM, RAM, RAM]);
    const { scheme, mapped, mapping } = mapWith(machine, 'rfc_link_range', request);
    expect(reached(machine, mapped)).toEqual([RAM, RAM + 2 * PAGE, RAM + 4 * PAGE]);
    expect(mapping).toEqual(work({ iovaAllocations: 1, maps: 3 }));
    scheme.unmap(machine.cpu, request.direction, mapped);
    expect(takeWork(machine)).toEqual(work({ unmaps: 3, flushes: 3, iovaFrees: 1 }));
  });

  test('in a lazy domain the RFC leaves the flush to the queue, once for the range', () => {
    const machine = machineWithPeers({ domain: 'lazy' });
    const request = requestOf([RAM, RAM, RAM]);
    const { scheme, mapped } = mapWith(machine, 'rfc_link_range', request);
    scheme.unmap(machine.cpu, request.direction, mapped);
    expect(takeWork(machine)).toEqual(work({ unmaps: 3, queueEntries: 1 }));
  });

  test('the hint of a caller who knows its memory to be of one kind saves the questions', () => {
    const asked = (name: SchemeName, uniform: boolean): number => {
      const machine = machineWithPeers();
      const request = requestOf(Array.from({ length: 64 }, () => RAM));
      request.uniform = uniform;
      const before = machine.cpu.now;
      mapWith(machine, name, request);
      return machine.cpu.now - before;
    };
    const question = asked('hybrid', false) - asked('hybrid', true);
    expect(question).toBeGreaterThan(0);
    expect(asked('two_step', true)).toBe(asked('two_step', false));
    expect(asked('hybrid', false)).toBe(asked('two_step', false));
  });
});

describe('what no scheme can do', () => {
  const able = SCHEME_NAMES.filter((name) => name !== 'premapped');
  test.each(able)('%s: a peer out of reach is refused with its vector, and nothing stays mapped', (name) => {
    const machine = machineWithPeers();
    const { mapped } = mapWith(machine, name, requestOf([RAM, ALONE, RAM]));
    expect(mapped.status).toBe('inval');
    expect(mapped.refusal).toMatch(/cannot reach|of one kind/u);
    expect(machine.counters.get('iovaFree')).toBe(
      machine.counters.get('iovaAllocFast') + machine.counters.get('iovaAllocSlow'),
    );
  });

  test.each([
    ['not coherent', { coherent: false }],
    ['untrusted', { untrusted: true }],
    ['confidential guest', { forceUnencrypted: true }],
  ])('iova_export refuses a device that is %s', (reason, device) => {
    const { mapped } = mapWith(machineWithPeers({ device }), 'iova_export', requestOf([RAM, RAM]));
    expect(mapped.refusal).toContain(reason);
  });
});

describe('random mixtures', () => {
  const places = fc.array(fc.constantFrom(RAM, NEAR, FAR), { minLength: 1, maxLength: 40 });
  const schemes = SCHEME_NAMES.filter((name) => !['premapped', 'uniform_only', 'rfc_link_range'].includes(name));
  const domains: readonly DomainType[] = ['strict', 'lazy', 'passthrough'];

  test('every scheme for mixed memory gives the device the same bytes in the same order, and returns what it took', () => {
    fc.assert(
      fc.property(places, fc.constantFrom(...schemes), fc.constantFrom(...domains), (chosen, name, domain) => {
        const machine = machineWithPeers({ domain });
        const request = requestOf(chosen);
        const { scheme, mapped } = mapWith(machine, name, request);
        expect(mapped.refusal).toBe('');
        expect(reached(machine, mapped)).toEqual([...request.vectorPhys.subarray(0, request.vectorCount)]);
        scheme.unmap(machine.cpu, request.direction, mapped);
        const translated = machine.api.translatedDevice(machine.device);
        if (translated !== null) {
          const left = Array.from(mapped.address.subarray(0, mapped.count), (address) =>
            translated.domain.iovaToPhys(address),
          );
          expect(left.every((phys) => phys === -1)).toBe(true);
        }
        const { counters } = machine;
        const taken = counters.get('iovaAllocFast') + counters.get('iovaAllocSlow');
        const waiting = counters.get('flushQueueEntries');
        expect(counters.get('iovaFree') + waiting).toBe(taken);
      }),
      { numRuns: 300, seed: 22 },
    );
  });
});
