/**
 * The NVMe driver's side of the situations of engine/dma/scenarios.test.ts: what one request of 128 KiB costs under each kernel,
 * and the data pointer that the drive gets. Fresh caches, a coherent drive, pages of 4 KiB; the descriptor pools have a page.
 */
import { describe, expect, test } from 'vitest';
import { NvmeDataPointerWalk } from '../devices/nvmeDataPointer.ts';
import { NVME_CMD_SGL_METABUF, NVME_SC_SUCCESS, SQE_DPTR } from '../devices/nvmeSpecification.ts';
import { DMA_FROM_DEVICE } from '../dma/attributes.ts';
import { kernelProfile, type KernelProfileName } from '../dma/kernels/profiles.ts';
import { ScatterList } from '../dma/scatterList.ts';
import { TestMachine, type TestMachineOptions } from '../dma/testMachine.ts';
import { takeWork, work } from '../dma/testMeter.ts';
import { DmaIovaState } from '../dma/twoStep.ts';
import { MappedRequest } from '../schemes/mappedRequest.ts';
import { MappingRequest } from '../schemes/mappingRequest.ts';
import { createScheme } from '../schemes/schemes.ts';
import { DmaPool, NVME_LARGE_POOL_SIZE, NVME_SMALL_POOL_SIZE } from './descriptorPool.ts';
import { NvmeIod } from './nvmeIod.ts';
import { NvmeMapping } from './nvmeMapping.ts';

const KIB = 1024;
const PAGE = 4 * KIB;
const RAM = 0x1_2000_0000;

/** A driver over a real DMA API, and the drive's view of what it is sent. */
class NvmeScenario {
  readonly machine: TestMachine;
  readonly iod = new NvmeIod(new MappedRequest(new DmaIovaState(), new ScatterList()));
  readonly small: DmaPool;
  readonly large: DmaPool;
  private readonly mapping: NvmeMapping;

  constructor(profile: KernelProfileName, options: TestMachineOptions & { sgl: boolean; threshold?: number }) {
    const { sgl, threshold, ...machineOptions } = options;
    this.machine = new TestMachine({
      profile,
      ...machineOptions,
      device: { maxSegmentSize: 2 ** 32 - 1, minAlignMask: 4095 },
    });
    const { api, device, memory, cpu } = this.machine;
    const kernel = kernelProfile(profile);
    this.small = new DmaPool(api, device, NVME_SMALL_POOL_SIZE);
    this.large = new DmaPool(api, device, NVME_LARGE_POOL_SIZE);
    for (const pool of [this.small, this.large]) {
      const blocks = Array.from({ length: 5 }, () => pool.allocate(cpu)!);
      for (const block of blocks) pool.free(block);
    }
    this.mapping = new NvmeMapping({
      name: 'nvme0',
      scheme: createScheme(kernel.nvmeScheme, api, device, kernel, 'test'),
      pools: { small: this.small, large: this.large },
      memory,
      sglSupport: sgl,
      ...(threshold === undefined ? {} : { sglThresholdBytes: threshold }),
    });
    takeWork(this.machine);
  }

  map(vectors: readonly (readonly [number, number])[]): string {
    const request = new MappingRequest();
    request.reset(DMA_FROM_DEVICE);
    for (const [phys, length] of vectors) request.addVector(phys, length);
    request.segments = vectors.length;
    return this.mapping.mapRequest(this.machine.cpu, request, this.iod);
  }

  unmap(): void {
    this.mapping.unmapRequest(this.machine.cpu, this.iod);
  }

  /** What the drive reads: bytes of its lists, and the ranges that they say. */
  driveReads(bytes: number): { status: number; listBytes: number[]; ranges: [number, number][] } {
    const entry = new Uint32Array(16);
    entry[0] = this.iod.sgl ? NVME_CMD_SGL_METABUF << 8 : 0;
    entry.set(this.iod.dataPointer, SQE_DPTR);
    const walk = new NvmeDataPointerWalk();
    walk.start(entry, 0, bytes, true);
    const listBytes: number[] = [];
    while (walk.fetchBytes > 0) {
      listBytes.push(walk.fetchBytes);
      const words = new Uint32Array(walk.fetchBytes / 4);
      this.machine.memory.readBytes(this.physOf(walk.fetchAddress), new Uint8Array(words.buffer), 0, walk.fetchBytes);
      walk.consume(words);
    }
    const ranges = Array.from({ length: walk.count }, (_, index): [number, number] => [
      walk.address[index]!,
      walk.length[index]!,
    ]);
    return { status: walk.status, listBytes, ranges };
  }

  /** The pages of memory that the drive reaches by the command, in order. */
  pagesReached(bytes: number): (number | null)[] {
    return this.driveReads(bytes).ranges.flatMap(([address, length]) =>
      Array.from({ length: Math.ceil(length / PAGE) }, (_, index) => {
        const phys = this.physOf(address + index * PAGE);
        return phys === -1 ? null : Math.floor(phys / PAGE);
      }),
    );
  }

  private physOf(address: number): number {
    const translated = this.machine.api.translatedDevice(this.machine.device);
    return translated === null ? address : translated.domain.iovaToPhys(address);
  }
}

function scattered(bytes: number): [number, number][] {
  return Array.from({ length: bytes / PAGE }, (_, index) => [RAM + index * 2 * PAGE, PAGE]);
}

function pagesOf(vectors: readonly (readonly [number, number])[]): number[] {
  return vectors.map(([phys]) => phys / PAGE);
}

describe('a read of 128 KiB into 32 scattered pages, lazy domain', () => {
  const vectors = scattered(128 * KIB);

  test.each(['6.17', '6.18', '7.2', '7.3', 'ideal'] as const)(
    '%s: one IOVA of order 5, 32 maps, one sync, one SGL descriptor',
    (profile) => {
      const scenario = new NvmeScenario(profile, { domain: 'lazy', sgl: true });
      expect(scenario.map(vectors)).toBe('ok');
      expect(takeWork(scenario.machine)).toEqual(work({ iovaAllocations: 1, maps: 32, syncs: 1 }));
      expect(scenario.iod.sgl).toBe(true);
      expect(scenario.driveReads(128 * KIB)).toMatchObject({
        status: NVME_SC_SUCCESS,
        listBytes: [],
        ranges: [[expect.any(Number), 128 * KIB]],
      });
      expect(scenario.pagesReached(128 * KIB)).toEqual(pagesOf(vectors));
    },
  );

  test.each([
    ['6.17', work({ unmaps: 1, queueEntries: 1 })],
    ['6.18', work({ unmaps: 1, queueEntries: 1 })],
    ['7.2', work({ unmaps: 1, queueEntries: 1 })],
    ['7.3', work({ unmaps: 1, flushes: 1, iovaFrees: 1 })],
    ['ideal', work({ unmaps: 1, queueEntries: 1 })],
  ] as const)('%s: its completion', (profile, expected) => {
    const scenario = new NvmeScenario(profile, { domain: 'lazy', sgl: true });
    scenario.map(vectors);
    takeWork(scenario.machine);
    scenario.unmap();
    expect(takeWork(scenario.machine)).toEqual(expected);
  });

  test.each([
    ['7.2', 0],
    ['7.3', 1],
  ] as const)('%s: the next request finds %i ranges in the cache; after the queue’s timer one', (profile, cached) => {
    const scenario = new NvmeScenario(profile, { domain: 'lazy', sgl: true });
    const { machine } = scenario;
    const cacheHits = (): number => {
      const before = machine.counters.get('iovaAllocFast');
      scenario.map(vectors);
      scenario.unmap();
      return machine.counters.get('iovaAllocFast') - before;
    };
    expect(cacheHits()).toBe(0);
    expect(cacheHits()).toBe(cached);
    machine.api.flushQueueTimer(machine.cpu, machine.device);
    expect(cacheHits()).toBe(1);
  });

  test.each(['7.2', '7.3'] as const)('%s, a drive without SGLs: PRP1 and a list of 31 entries', (profile) => {
    const scenario = new NvmeScenario(profile, { domain: 'lazy', sgl: false });
    scenario.map(vectors);
    expect(takeWork(scenario.machine)).toEqual(work({ iovaAllocations: 1, maps: 32, syncs: 1 }));
    expect(scenario.driveReads(128 * KIB).listBytes).toEqual([31 * 8]);
    expect(scenario.pagesReached(128 * KIB)).toEqual(pagesOf(vectors));
  });

  test('6.12 maps the same pages as a scatterlist: one unmap, one queue entry', () => {
    const scenario = new NvmeScenario('6.12', { domain: 'lazy', sgl: true });
    scenario.map(vectors);
    expect(takeWork(scenario.machine)).toEqual(work({ iovaAllocations: 1, maps: 32 }));
    expect(scenario.driveReads(128 * KIB).ranges).toHaveLength(1);
    scenario.unmap();
    expect(takeWork(scenario.machine)).toEqual(work({ unmaps: 1, queueEntries: 1 }));
  });

  test.each(['7.2', '7.3', 'ideal'] as const)(
    '%s, passthrough: physical addresses, 32 PRP pages, no work',
    (profile) => {
      const scenario = new NvmeScenario(profile, { domain: 'passthrough', sgl: true });
      expect(scenario.map(vectors)).toBe('ok');
      const { iod, machine } = scenario;
      expect([iod.sgl, iod.mapped.coalesced, machine.api.dmaNeedUnmap(machine.device)]).toEqual([false, false, false]);
      const { ranges, listBytes } = scenario.driveReads(128 * KIB);
      expect([ranges, listBytes]).toEqual([vectors, [31 * 8]]);
      scenario.unmap();
      expect(takeWork(machine)).toEqual(work());
    },
  );
});

describe('a request with a junction at 512 bytes', () => {
  const vectors: [number, number][] = [
    [RAM + 0xe00, 0x200],
    [RAM + 2 * PAGE, 0x200],
    [RAM + 4 * PAGE, PAGE],
  ];
  const bytes = 0x400 + PAGE;

  test.each(['7.2', '7.3', 'ideal'] as const)(
    '%s: no common IOVA, each vector by itself, and an SGL by force',
    (profile) => {
      const scenario = new NvmeScenario(profile, { domain: 'lazy', sgl: true });
      expect(scenario.map(vectors)).toBe('ok');
      expect(takeWork(scenario.machine)).toEqual(work({ iovaAllocations: 3, maps: 3 }));
      expect(scenario.iod.sgl).toBe(true);
      const { ranges, listBytes } = scenario.driveReads(bytes);
      expect(ranges.map(([address, length]) => [address % PAGE, length])).toEqual([
        [0xe00, 0x200],
        [0, 0x200],
        [0, PAGE],
      ]);
      expect(listBytes).toEqual([3 * 16]);
      scenario.unmap();
      expect(takeWork(scenario.machine)).toEqual(work({ unmaps: 3, queueEntries: 3 }));
    },
  );

  test('7.3, a drive without SGLs: refused, and everything given back', () => {
    const scenario = new NvmeScenario('7.3', { domain: 'strict', sgl: false });
    expect(scenario.map(vectors)).toBe('ioerr');
    const { iovaAllocations, iovaFrees, maps, unmaps } = takeWork(scenario.machine);
    expect([iovaFrees, unmaps]).toEqual([iovaAllocations, maps]);
  });
});

describe('PRP lists of known lengths (NVM Express Base Specification 4.1.1; nvme_pci_setup_data_prp)', () => {
  test.each([
    ['128 KiB', 128, [31], 'small'],
    ['132 KiB', 132, [32], 'small'],
    ['136 KiB', 136, [33], 'large'],
    ['1 MiB', 1024, [255], 'large'],
    // a full page holds 511 addresses and the pointer to the next
    ['2 MiB + 8 KiB', 2056, [512, 2], 'large'],
    ['8 MiB', 8192, [512, 512, 512, 512, 3], 'large'],
  ] as const)('%s', (_, kib, entries, pool) => {
    const bytes = kib * KIB;
    for (const domain of ['strict', 'passthrough'] as const) {
      const scenario = new NvmeScenario('7.3', { domain, sgl: false });
      const vectors = scattered(bytes);
      expect(scenario.map(vectors)).toBe('ok');
      const { listBytes, status } = scenario.driveReads(bytes);
      expect(status).toBe(NVME_SC_SUCCESS);
      expect(listBytes.map((length) => length / 8)).toEqual(entries);
      expect(entries.reduce((sum, count) => sum + count, 0) - (entries.length - 1)).toBe(bytes / PAGE - 1);
      expect(scenario.iod.smallDescriptor).toBe(pool === 'small');
      expect(scenario.iod.descriptors).toHaveLength(entries.length);
      expect(scenario.pagesReached(bytes)).toEqual(pagesOf(vectors));
      scenario.unmap();
      expect(scenario.iod.descriptors).toHaveLength(0);
    }
  });
});

describe('the choice of SGL by the average segment (nvme_pci_use_sgls)', () => {
  test.each([
    ['32 KiB in one range', 'strict', 32, undefined, true],
    ['28 KiB in one range', 'strict', 28, undefined, false],
    ['128 KiB in 32 segments', 'passthrough', 128, undefined, false],
    ['a threshold of one page', 'passthrough', 128, PAGE, true],
    ['a threshold of one page and one byte', 'passthrough', 128, PAGE + 1, false],
    ['no threshold: the rule is off', 'strict', 128, 0, false],
  ] as const)('%s', (_, domain, kib, threshold, sgl) => {
    const scenario = new NvmeScenario('7.3', { domain, sgl: true, ...(threshold === undefined ? {} : { threshold }) });
    const vectors = scattered(kib * KIB);
    scenario.map(vectors);
    expect(scenario.iod.sgl).toBe(sgl);
    expect(scenario.pagesReached(kib * KIB)).toEqual(pagesOf(vectors));
  });
});
