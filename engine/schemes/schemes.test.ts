import { beforeEach, describe, expect, it } from 'vitest';
import { DMA_FROM_DEVICE } from '../dma/attributes.ts';
import { dmaCostParameters, resolveDmaCosts } from '../dma/kernels/costs.ts';
import { createDmaDevice, type DmaDevice } from '../dma/device.ts';
import { DmaApi } from '../dma/dmaApi.ts';
import { EADDRINUSE, ENOMEM } from '../dma/errno.ts';
import { kernelProfile } from '../dma/kernels/profiles.ts';
import { ScatterList } from '../dma/scatterList.ts';
import { DmaIovaState } from '../dma/twoStep.ts';
import { DMA_MAPPING_ERROR, dmaAddr, type DmaAddr } from '../memory/addresses.ts';
import { FrameAllocator } from '../memory/frameAllocator.ts';
import { PhysicalMemory } from '../memory/physicalMemory.ts';
import { Counters } from '../metrics/counters.ts';
import { Cpu } from '../time/cpu.ts';
import { LabError } from '../time/labError.ts';
import { MappedRequest } from './mappedRequest.ts';
import { MappingRequest } from './mappingRequest.ts';
import { createScheme } from './schemes.ts';

const PAGE = 4096;

/** A DMA API that writes down its calls, and fails where it is told to. */
class ListeningDma extends DmaApi {
  readonly calls: string[] = [];
  translates = true;
  failMap = -1;
  failLink = 0;
  allocates = true;
  private maps = 0;

  override dmaMapPhys(_cpu: Cpu, _device: DmaDevice, phys: number, size: number): DmaAddr {
    this.maps += 1;
    const failed = this.maps === this.failMap;
    this.calls.push(`map_phys ${phys.toString(16)}+${size.toString(16)}${failed ? ' failed' : ''}`);
    return failed ? DMA_MAPPING_ERROR : dmaAddr(phys + 0x1_0000_0000);
  }

  override dmaUnmapPhys(_cpu: Cpu, _device: DmaDevice, address: number, size: number): void {
    this.calls.push(`unmap_phys ${address.toString(16)}+${size.toString(16)}`);
  }

  override dmaMapSg(_cpu: Cpu, _device: DmaDevice, list: ScatterList): number {
    const entries = Array.from({ length: list.count }, (_, index) => list.phys[index]!.toString(16));
    this.calls.push(`map_sg ${entries.join(' ')}`);
    if (this.failMap > 0) return ENOMEM;
    list.dmaAddress[0] = 0x1_0000_0000;
    list.dmaLength[0] = list.length.subarray(0, list.count).reduce((sum, length) => sum + length, 0);
    list.mappedCount = 1;
    return 1;
  }

  override dmaUnmapSg(): void {
    this.calls.push('unmap_sg');
  }

  override dmaIovaTryAlloc(_cpu: Cpu, _device: DmaDevice, state: DmaIovaState, phys: number, size: number): boolean {
    this.calls.push(`try_alloc ${phys.toString(16)}+${size.toString(16)}`);
    if (!this.translates || !this.allocates) return false;
    state.address = 0xf000_0000 + (phys % PAGE);
    state.size = size;
    return true;
  }

  override dmaIovaLink(
    _cpu: Cpu,
    _device: DmaDevice,
    _state: DmaIovaState,
    phys: number,
    offset: number,
    size: number,
  ): number {
    this.calls.push(`link ${phys.toString(16)} at ${offset.toString(16)}+${size.toString(16)}`);
    return offset > 0 ? this.failLink : 0;
  }

  override dmaIovaSync(_cpu: Cpu, _device: DmaDevice, _state: DmaIovaState, offset: number, size: number): number {
    this.calls.push(`sync ${offset.toString(16)}+${size.toString(16)}`);
    return 0;
  }

  override dmaIovaDestroy(_cpu: Cpu, _device: DmaDevice, _state: DmaIovaState, mappedLength: number): void {
    this.calls.push(`destroy ${mappedLength.toString(16)}`);
  }

  override dmaNeedUnmap(): boolean {
    return this.translates;
  }

  override dmaGetMergeBoundary(): number {
    return this.translates ? PAGE - 1 : 0;
  }
}

const cpu = new Cpu(0);
const device = createDmaDevice({ name: '0000:00:03.0', sourceId: 0x18 });
let dma: ListeningDma;
let mapped: MappedRequest;

beforeEach(() => {
  const memory = new PhysicalMemory(1 << 24);
  dma = new ListeningDma({
    profile: kernelProfile('7.3'),
    costs: resolveDmaCosts(dmaCostParameters('recorded-instructions', '7.3')),
    memory,
    frames: new FrameAllocator(memory, 1, 4095),
    iommu: null,
    counters: new Counters(),
    trace: null,
    timers: null,
    cpus: 1,
    log: null,
  });
  mapped = new MappedRequest(new DmaIovaState(), new ScatterList());
});

function requestOf(vectors: readonly (readonly [number, number])[], segments = vectors.length): MappingRequest {
  const request = new MappingRequest();
  request.reset(DMA_FROM_DEVICE);
  for (const [phys, length] of vectors) request.addVector(phys, length);
  request.segments = segments;
  request.singleSegment = segments === 1;
  return request;
}

const SCATTERED = [
  [0x10e00, 0x200],
  [0x30000, 0x1000],
  [0x31000, 0x1000],
  [0x50000, 0x800],
] as const;

describe('two_step (Linux block/blk-mq-dma.c)', () => {
  const scheme = () => createScheme('two_step', dma, device, kernelProfile('7.3'), 'comparison[0]');

  it('reserves once, links each physically contiguous run, synchronises once, and destroys once', () => {
    const two = scheme();
    expect(two.mapStart(cpu, requestOf(SCATTERED), mapped)).toBe('ok');
    expect(two.mapNext(cpu, requestOf(SCATTERED), mapped)).toBe(false);
    expect(dma.calls).toEqual([
      'try_alloc 10e00+2a00',
      'link 10e00 at 0+200',
      'link 30000 at 200+2000',
      'link 50000 at 2200+800',
      'sync 0+2a00',
    ]);
    expect([mapped.count, mapped.address[0], mapped.length[0]]).toEqual([1, 0xf000_0e00, 0x2a00]);
    expect(mapped.bookkeepingBytes).toBe(16);
    two.unmap(cpu, DMA_FROM_DEVICE, mapped);
    expect(dma.calls.at(-1)).toBe('destroy 2a00');
  });

  it('maps vectors one by one where a junction is not page aligned, and never reserves', () => {
    const two = scheme();
    const request = requestOf([
      [0x10400, 0x400],
      [0x20200, 0x200],
    ]);
    two.mapStart(cpu, request, mapped);
    while (two.mapNext(cpu, request, mapped));
    two.unmap(cpu, DMA_FROM_DEVICE, mapped);
    expect(dma.calls).toEqual([
      'map_phys 10400+400',
      'map_phys 20200+200',
      'unmap_phys 100010400+400',
      'unmap_phys 100020200+200',
    ]);
  });

  it('needs no unmap in passthrough, and no vectors are kept', () => {
    dma.translates = false;
    const two = scheme();
    const request = requestOf(SCATTERED);
    two.mapStart(cpu, request, mapped);
    two.keepVectors(mapped);
    while (two.mapNext(cpu, request, mapped));
    expect(mapped.bookkeepingBytes).toBe(16);
    two.unmap(cpu, DMA_FROM_DEVICE, mapped);
    expect(dma.calls).toEqual([
      'try_alloc 10e00+2a00',
      'map_phys 10e00+200',
      'map_phys 30000+2000',
      'map_phys 50000+800',
    ]);
  });

  it('keeps 16 bytes for each vector that must be unmapped from a list without lengths', () => {
    dma.allocates = false;
    const two = scheme();
    const request = requestOf(SCATTERED);
    two.mapStart(cpu, request, mapped);
    two.keepVectors(mapped);
    while (two.mapNext(cpu, request, mapped));
    expect(mapped.bookkeepingBytes).toBe(16 + 3 * 16);
  });

  it('always unmaps a single segment, in passthrough too', () => {
    dma.translates = false;
    const two = scheme();
    two.mapStart(cpu, requestOf([[0x10000, 0x1000]]), mapped);
    two.unmap(cpu, DMA_FROM_DEVICE, mapped);
    expect(dma.calls).toEqual(['map_phys 10000+1000', 'unmap_phys 100010000+1000']);
    expect(mapped.bookkeepingBytes).toBe(0);
  });

  it('takes two neighbouring small pages as two segments and one link', () => {
    scheme().mapStart(cpu, requestOf([[0x10000, 0x2000]], 2), mapped);
    expect(dma.calls).toEqual(['try_alloc 10000+2000', 'link 10000 at 0+2000', 'sync 0+2000']);
  });

  it('takes down what was linked when a link fails, and nothing is left to unmap', () => {
    dma.failLink = EADDRINUSE;
    const two = scheme();
    expect(two.mapStart(cpu, requestOf(SCATTERED), mapped)).toBe('ioerr');
    expect(dma.calls.at(-1)).toBe('destroy 200');
    const calls = dma.calls.length;
    two.unmap(cpu, DMA_FROM_DEVICE, mapped);
    expect(dma.calls).toHaveLength(calls);
  });

  it('unmaps the vectors before the one that failed', () => {
    dma.allocates = false;
    dma.failMap = 2;
    const two = scheme();
    const request = requestOf(SCATTERED);
    expect(two.mapStart(cpu, request, mapped)).toBe('ok');
    expect(two.mapNext(cpu, request, mapped)).toBe(false);
    expect(mapped.status).toBe('resource');
    two.unmap(cpu, DMA_FROM_DEVICE, mapped);
    expect(dma.calls.slice(-2)).toEqual(['map_phys 30000+2000 failed', 'unmap_phys 100010e00+200']);
  });

  it('is refused on 6.12, with a sentence that names the place', () => {
    expect(() => createScheme('two_step', dma, device, kernelProfile('6.12'), 'comparison[2]')).toThrow(LabError);
    expect(() => createScheme('two_step', dma, device, kernelProfile('6.12'), 'comparison[2]')).toThrow(
      /^comparison\[2\]: Linux 6\.12 has no dma_iova_\*/,
    );
  });
});

describe('map_sg (Linux drivers/nvme/host/pci.c of 6.12)', () => {
  const scheme = () => createScheme('map_sg', dma, device, kernelProfile('7.3'), 'comparison[0]');

  it('makes one scatterlist of the physically contiguous runs, 32 bytes for each segment', () => {
    const sg = scheme();
    expect(sg.mapStart(cpu, requestOf(SCATTERED, 4), mapped)).toBe('ok');
    expect(sg.mapNext(cpu, requestOf(SCATTERED, 4), mapped)).toBe(false);
    sg.unmap(cpu, DMA_FROM_DEVICE, mapped);
    expect(dma.calls).toEqual(['map_sg 10e00 30000 50000', 'unmap_sg']);
    expect(mapped.bookkeepingBytes).toBe(4 * 32);
    expect([mapped.count, mapped.length[0]]).toEqual([1, 0x2a00]);
  });

  it('maps a single segment by itself, without a list', () => {
    const sg = scheme();
    sg.mapStart(cpu, requestOf([[0x10000, 0x1000]]), mapped);
    sg.unmap(cpu, DMA_FROM_DEVICE, mapped);
    expect(dma.calls).toEqual(['map_phys 10000+1000', 'unmap_phys 100010000+1000']);
    expect(mapped.bookkeepingBytes).toBe(0);
  });

  it('reports a list that found no IOVA, and leaves nothing to unmap', () => {
    dma.failMap = 1;
    const sg = scheme();
    expect(sg.mapStart(cpu, requestOf(SCATTERED), mapped)).toBe('resource');
    sg.unmap(cpu, DMA_FROM_DEVICE, mapped);
    expect(dma.calls).toHaveLength(1);
  });
});
