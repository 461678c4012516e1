import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NvmeDataPointerWalk } from '../devices/nvmeDataPointer.ts';
import { NVME_CMD_SGL_METABUF, NVME_SC_SUCCESS, SQE_DPTR } from '../devices/nvmeSpecification.ts';
import { DMA_FROM_DEVICE } from '../dma/attributes.ts';
import { ScatterList } from '../dma/scatterList.ts';
import { DmaIovaState } from '../dma/twoStep.ts';
import { physAddr } from '../memory/addresses.ts';
import { PhysicalMemory } from '../memory/physicalMemory.ts';
import { MappedRequest, type MappedBy } from '../schemes/mappedRequest.ts';
import { MappingRequest } from '../schemes/mappingRequest.ts';
import type { MappingScheme } from '../schemes/scheme.ts';
import { Cpu } from '../time/cpu.ts';
import type { DescriptorBlock, DescriptorPool } from './descriptorPool.ts';
import { NvmeIod } from './nvmeIod.ts';
import { NvmeMapping } from './nvmeMapping.ts';

const PAGE = 4096;
const KIB = 1024;

/** A scheme without a DMA API: each vector is its own address, or all of them are one range at 4 GiB. */
class PretendScheme implements MappingScheme {
  readonly name = 'two_step';
  readonly heldBytes = 0;
  readonly order: string[];
  private readonly how: MappedBy;
  private readonly failAt: number;

  constructor(how: MappedBy, order: string[], failAt = -1) {
    this.how = how;
    this.order = order;
    this.failAt = failAt;
  }

  registerBuffer() {
    return 'ok' as const;
  }

  release(): void {
    this.order.push('release');
  }

  mapStart(cpu: Cpu, request: MappingRequest, mapped: MappedRequest) {
    mapped.reset();
    mapped.mappedBy = this.how;
    if (this.how === 'iova') mapped.addRange(0x1_0000_0000 + (request.vectorPhys[0]! % PAGE), request.payloadBytes);
    else this.mapNext(cpu, request, mapped);
    return 'ok' as const;
  }

  mapNext(_cpu: Cpu, request: MappingRequest, mapped: MappedRequest): boolean {
    if (this.how === 'iova' || mapped.count === request.vectorCount) return false;
    if (mapped.count === this.failAt) {
      mapped.status = 'resource';
      return false;
    }
    this.order.push('map');
    mapped.addRange(request.vectorPhys[mapped.count]!, request.vectorLength[mapped.count]!);
    return true;
  }

  keepVectors(): void {
    this.order.push('keep');
  }

  unmap(): void {
    this.order.push('unmap');
  }
}

class PretendPool implements DescriptorPool {
  taken = 0;
  private readonly name: string;
  private readonly base: number;
  private readonly bytes: number;
  private readonly order: string[];

  constructor(name: string, base: number, bytes: number, order: string[]) {
    this.name = name;
    this.base = base;
    this.bytes = bytes;
    this.order = order;
  }

  allocate(): DescriptorBlock {
    const offset = this.taken * this.bytes;
    this.taken += 1;
    this.order.push(this.name);
    return { phys: this.base + offset, address: this.base + offset + 0x1000_0000_0000 };
  }

  free(): void {
    this.taken -= 1;
  }
}

function setUp(how: MappedBy, sglSupport: boolean, failAt = -1) {
  const order: string[] = [];
  const memory = new PhysicalMemory(64 * 1024 * KIB);
  const small = new PretendPool('small', 0x1000, 256, order);
  const large = new PretendPool('large', 0x10_0000, PAGE, order);
  const scheme = new PretendScheme(how, order, failAt);
  const mapping = new NvmeMapping({ name: 'nvme0', scheme, pools: { small, large }, memory, sglSupport });
  const iod = new NvmeIod(new MappedRequest(new DmaIovaState(), new ScatterList()));
  return { order, memory, small, large, mapping, iod, cpu: new Cpu(0) };
}

/** Scattered pages, or one vector where `pages` is a number of bytes. */
function requestOf(vectors: readonly (readonly [number, number])[], segments = vectors.length): MappingRequest {
  const request = new MappingRequest();
  request.reset(DMA_FROM_DEVICE);
  for (const [phys, length] of vectors) request.addVector(phys, length);
  request.segments = segments;
  return request;
}

function scattered(bytes: number): [number, number][] {
  return Array.from({ length: Math.ceil(bytes / PAGE) }, (_, index) => [
    0x100_0000 + index * 2 * PAGE,
    Math.min(PAGE, bytes - index * PAGE),
  ]);
}

/** Reads the data pointer as the drive does; list addresses are physical plus a constant, as behind an IOMMU. */
function readAsDrive(iod: NvmeIod, memory: PhysicalMemory, bytes: number) {
  const entry = new Uint32Array(16);
  entry[0] = iod.sgl ? NVME_CMD_SGL_METABUF << 8 : 0;
  entry.set(iod.dataPointer, SQE_DPTR);
  const walk = new NvmeDataPointerWalk();
  walk.start(entry, 0, bytes, true);
  while (walk.fetchBytes > 0) {
    const words = new Uint32Array(walk.fetchBytes / 4);
    memory.readBytes(physAddr(walk.fetchAddress - 0x1000_0000_0000), new Uint8Array(words.buffer), 0, walk.fetchBytes);
    walk.consume(words);
  }
  const ranges: [number, number][] = [];
  for (let index = 0; index < walk.count; index += 1) ranges.push([walk.address[index]!, walk.length[index]!]);
  return { status: walk.status, ranges };
}

describe('PRP lists (Linux drivers/nvme/host/pci.c, nvme_pci_setup_data_prp)', () => {
  it.each([
    ['4 KiB', 4 * KIB, 0, 0],
    ['8 KiB', 8 * KIB, 0, 0],
    ['128 KiB', 128 * KIB, 1, 0],
    ['132 KiB', 132 * KIB, 1, 0],
    ['136 KiB', 136 * KIB, 0, 1],
    ['1 MiB', 1024 * KIB, 0, 1],
    ['2 MiB + 8 KiB', 2056 * KIB, 0, 2],
    ['8 MiB', 8192 * KIB, 0, 5],
  ])('%s of scattered pages', (_name, bytes, small, large) => {
    const { mapping, iod, cpu, memory, ...pools } = setUp('vectors', false);
    const request = requestOf(scattered(bytes), bytes / PAGE);
    expect(mapping.mapRequest(cpu, request, iod)).toBe('ok');
    expect([pools.small.taken, pools.large.taken]).toEqual([small, large]);
    expect(readAsDrive(iod, memory, bytes)).toEqual({ status: NVME_SC_SUCCESS, ranges: scattered(bytes) });
    mapping.unmapRequest(cpu, iod);
    expect([pools.small.taken, pools.large.taken]).toEqual([0, 0]);
  });

  it('take the list after the second vector and before the third', () => {
    const { mapping, iod, cpu, order } = setUp('vectors', false);
    mapping.mapRequest(cpu, requestOf(scattered(16 * KIB)), iod);
    expect(order).toEqual(['map', 'keep', 'map', 'small', 'map', 'map']);
  });

  it('refuse a vector that ends within a page before the last', () => {
    const { mapping, iod, cpu, order } = setUp('vectors', false);
    const request = requestOf([
      [0x10000, PAGE],
      [0x20000, 512],
      [0x30000, PAGE],
    ]);
    expect(mapping.mapRequest(cpu, request, iod)).toBe('ioerr');
    expect(order.at(-1)).toBe('unmap');
  });

  it('give everything back when a later vector finds no resources', () => {
    const { mapping, iod, cpu, order, small } = setUp('vectors', false, 3);
    expect(mapping.mapRequest(cpu, requestOf(scattered(32 * KIB)), iod)).toBe('resource');
    expect(order.at(-1)).toBe('unmap');
    expect(small.taken).toBe(0);
  });
});

describe('the choice between PRP and SGL (Linux drivers/nvme/host/pci.c, nvme_pci_use_sgls)', () => {
  it('is one inline SGL for 128 KiB that the IOMMU joined, though its pages are scattered', () => {
    const { mapping, iod, cpu, order, memory } = setUp('iova', true);
    mapping.mapRequest(cpu, requestOf(scattered(128 * KIB)), iod);
    expect(iod.sgl).toBe(true);
    expect(order).toEqual([]);
    expect(readAsDrive(iod, memory, 128 * KIB).ranges).toEqual([[0x1_0000_0000, 128 * KIB]]);
  });

  it('is PRP below the threshold of 32 KiB on average, joined or not', () => {
    const joined = setUp('iova', true);
    joined.mapping.mapRequest(joined.cpu, requestOf(scattered(28 * KIB)), joined.iod);
    expect(joined.iod.sgl).toBe(false);
    expect(joined.order).toEqual(['keep', 'small']);
    const apart = setUp('vectors', true);
    apart.mapping.mapRequest(apart.cpu, requestOf(scattered(128 * KIB)), apart.iod);
    expect(apart.iod.sgl).toBe(false);
  });

  it('is SGL by force where vectors leave gaps, taken after the first vector', () => {
    const { mapping, iod, cpu, order, memory } = setUp('vectors', true);
    const vectors: [number, number][] = [
      [0x10400, 1024],
      [0x20200, 512],
      [0x30000, PAGE],
    ];
    mapping.mapRequest(cpu, requestOf(vectors), iod);
    expect(iod.sgl).toBe(true);
    expect(order).toEqual(['map', 'small', 'map', 'map']);
    expect(readAsDrive(iod, memory, 1024 + 512 + PAGE).ranges).toEqual(vectors);
  });

  it('is PRP1 and PRP2 for a single segment within two pages, an inline SGL for a longer one', () => {
    const short = setUp('single', true);
    short.mapping.mapRequest(short.cpu, requestOf([[0x10200, 7 * KIB]]), short.iod);
    expect(short.iod.sgl).toBe(false);
    expect(readAsDrive(short.iod, short.memory, 7 * KIB).ranges).toEqual([[0x10200, 7 * KIB]]);
    const long = setUp('single', true);
    long.mapping.mapRequest(long.cpu, requestOf([[0x10200, 8 * KIB]]), long.iod);
    expect(long.iod.sgl).toBe(true);
  });

  it('has no shortcut for a long segment of a drive without SGLs', () => {
    const { mapping, cpu, iod } = setUp('iova', false);
    const request = requestOf([[0x10000, 64 * KIB]]);
    mapping.mapRequest(cpu, request, iod);
    expect(request.singleSegment).toBe(false);
  });

  it('describes to the drive exactly what was mapped', () => {
    const head = fc.integer({ min: 0, max: 7 });
    const pages = fc.array(fc.integer({ min: 1, max: 2000 }), { minLength: 1, maxLength: 600 });
    fc.assert(
      fc.property(head, pages, fc.boolean(), (blocks, list, sgl) => {
        const vectors = list.map((page, index): [number, number] => {
          const skip = index === 0 ? blocks * 512 : 0;
          return [page * 2 * PAGE + skip, PAGE - skip];
        });
        const { mapping, cpu, iod, memory } = setUp('vectors', sgl);
        const request = requestOf(vectors, Math.max(2, vectors.length));
        expect(mapping.mapRequest(cpu, request, iod)).toBe('ok');
        expect(readAsDrive(iod, memory, request.payloadBytes)).toEqual({ status: NVME_SC_SUCCESS, ranges: vectors });
      }),
      { numRuns: 50 },
    );
  });
});
