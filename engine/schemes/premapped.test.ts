/** Registered buffers against the real DMA API, in every domain. */
import { describe, expect, it } from 'vitest';
import { DMA_FROM_DEVICE } from '../dma/attributes.ts';
import { ScatterList } from '../dma/scatterList.ts';
import { TestMachine } from '../dma/testMachine.ts';
import { DmaIovaState } from '../dma/twoStep.ts';
import { COUNTER } from '../metrics/counters.ts';
import { MappedRequest } from './mappedRequest.ts';
import { MappingRequest } from './mappingRequest.ts';
import { PremappedScheme } from './premapped.ts';

const PAGE = 4096;
const BUFFER = Float64Array.from([700, 701, 900, 350]);

function requestOf(vectors: readonly (readonly [number, number])[]): MappingRequest {
  const request = new MappingRequest();
  request.reset(DMA_FROM_DEVICE);
  for (const [phys, length] of vectors) request.addVector(phys, length);
  request.segments = vectors.length;
  return request;
}

describe.each(['strict', 'lazy'] as const)('premapped buffers in a %s domain', (domain) => {
  it('are mapped once, side by side for the device, and looked up by each request', () => {
    const { api, cpus, device, counters } = new TestMachine({ domain });
    const cpu = cpus[0]!;
    const scheme = new PremappedScheme(api, device);
    expect(scheme.registerBuffer(cpu, BUFFER)).toBe('ok');
    expect(scheme.heldBytes).toBe(4 * 32);
    const maps = counters.values[COUNTER.iommuMaps]!;
    const mapped = new MappedRequest(new DmaIovaState(), new ScatterList());
    const vectors = [
      [701 * PAGE + 512, PAGE - 512],
      [900 * PAGE, PAGE],
    ] as const;
    for (let round = 0; round < 3; round += 1) {
      expect(scheme.mapStart(cpu, requestOf(vectors), mapped)).toBe('ok');
      expect(mapped.count).toBe(1);
      expect(mapped.length[0]).toBe(2 * PAGE - 512);
      const bus = mapped.address[0]!;
      const domainOf = api.translatedDevice(device)!;
      expect(domainOf.domain.iovaToPhys(bus)).toBe(701 * PAGE + 512);
      expect(domainOf.domain.iovaToPhys(bus - 512 + PAGE)).toBe(900 * PAGE);
      scheme.unmap(cpu, DMA_FROM_DEVICE, mapped);
    }
    expect(counters.values[COUNTER.iommuMaps]).toBe(maps);
    scheme.release(cpu);
    expect(scheme.heldBytes).toBe(0);
    expect(scheme.mapStart(cpu, requestOf(vectors), mapped)).toBe('ioerr');
  });

  it('refuse memory that nobody registered', () => {
    const { api, cpus, device } = new TestMachine({ domain });
    const scheme = new PremappedScheme(api, device);
    scheme.registerBuffer(cpus[0]!, BUFFER);
    const mapped = new MappedRequest(new DmaIovaState(), new ScatterList());
    expect(scheme.mapStart(cpus[0]!, requestOf([[702 * PAGE, PAGE]]), mapped)).toBe('ioerr');
    expect(mapped.status).toBe('ioerr');
  });
});
