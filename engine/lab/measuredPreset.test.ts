/**
 * K, m and b of a latency curve (pcie-bench, SIGCOMM'18): a machine of a lab that is set up from them and measured with the same
 * adapter gives them back, whatever they are.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import pcieBench from '../../fixtures/presets/pcie-bench.json' with { type: 'json' };
import { DmaBenchCard } from '../devices/dmaBenchCard.ts';
import { DMA_BIDIRECTIONAL } from '../dma/attributes.ts';
import { createDmaDevice } from '../dma/device.ts';
import { DmaApi } from '../dma/dmaApi.ts';
import { kernelProfile } from '../dma/kernels/profiles.ts';
import { Iommu } from '../iommu/iommu.ts';
import { PAGE_SIZE, physAddr } from '../memory/addresses.ts';
import { FrameAllocator } from '../memory/frameAllocator.ts';
import { PhysicalMemory } from '../memory/physicalMemory.ts';
import { Counters } from '../metrics/counters.ts';
import { Fabric } from '../pcie/fabric.ts';
import { Cpu } from '../time/cpu.ts';
import { EventQueue } from '../time/eventQueue.ts';
import { LabError } from '../time/labError.ts';
import { nanoseconds } from '../time/picoseconds.ts';
import { RandomStream } from '../time/random.ts';
import { parseLab } from './check.ts';
import { measuredPreset, withMeasuredPreset, type MeasuredCurve } from './measuredPreset.ts';
import { resolveCosts } from './presets.ts';
import { labSchema, type LabDocument, type PartOf } from './schema.ts';

const SOURCE_ID = 0x0300;
const MEMORY_BYTES = 2 ** 28;
const PROFILE = '7.3';
const { parameters: card } = pcieBench;

function emptyLab(iommu: Record<string, unknown> = {}): LabDocument {
  return labSchema.parse({
    format: 1,
    name: 'measured',
    kernelProfile: PROFILE,
    costs: { preset: 'default', overrides: { mmioWrite: 3, memoryRead: 1 } },
    topology: {
      parts: [
        { id: 'cpu0', kind: 'socket', cpus: 1 },
        { id: 'dram0', kind: 'memory', parent: 'cpu0', sizeGiB: 4 },
        { ...iommu, id: 'iommu0', kind: 'iommu', parent: 'cpu0' },
        { id: 'port0', kind: 'rootPort', parent: 'cpu0' },
        { id: 'nvme0', kind: 'nvme', parent: 'port0' },
      ],
    },
    workloads: [{ id: 'reads', kind: 'bio', device: 'nvme0', ioCount: 200, blockSize: 65_536 }],
    comparison: [{ id: 'run', scheme: 'two_step', domain: 'strict' }],
  });
}

function iommuOf(lab: LabDocument): PartOf<'iommu'> {
  return lab.topology.parts.find((part) => part.kind === 'iommu')!;
}

/** The adapter of the measurement in a machine with this lab's IOMMU and costs, below the port that it was measured below. */
function measuringMachine(curve: MeasuredCurve) {
  const preset = measuredPreset(curve);
  const lab = withMeasuredPreset(emptyLab(), 'iommu0', preset);
  const part = iommuOf(lab);
  const costs = resolveCosts({ preset: 'default', overrides: lab.costs.overrides }, PROFILE);
  const memory = new PhysicalMemory(MEMORY_BYTES);
  const frames = new FrameAllocator(memory, 1, MEMORY_BYTES / PAGE_SIZE - 1);
  const counters = new Counters();
  const events = new EventQueue();
  const iommu = new Iommu({
    name: part.id,
    memory,
    frames,
    geometry: {
      iotlb: {
        entries4K: part.iotlbEntries4K,
        entries2M: part.iotlbEntries2M,
        entries1G: part.iotlbEntries1G,
        ways: part.iotlbWays,
      },
      pagingCache: {
        entries512G: part.pagingCache512G,
        entries1G: part.pagingCache1G,
        entries2M: part.pagingCache2M,
      },
      contextCacheEntries: part.contextCacheEntries,
      walkers: part.walkers,
    },
    costs: costs.hardware,
    counters,
    log: null,
  });
  const fabric = new Fabric({ events, memory, translator: iommu, counters, costs: costs.hardware });
  const port = fabric
    .addRootPort({
      generation: Number(preset.rootPort['generation']!.value),
      lanes: Number(preset.rootPort['lanes']!.value),
      maxPayloadSize: Number(preset.rootPort['maxPayloadSize']!.value),
      maxReadRequestSize: Number(preset.rootPort['maxReadRequestSize']!.value),
      propagation: nanoseconds(Number(preset.rootPort['propagationNs']!.value)),
    })
    .addFunction(SOURCE_ID);
  const bench = new DmaBenchCard(port, events, {
    commandOverhead: nanoseconds(card.commandOverhead.value),
    engineOverhead: nanoseconds(card.engineOverhead.value),
    perByte: nanoseconds(card.perByte.value),
    readsInFlight: card.readsInFlight.value,
    readBufferBytes: card.readBufferBytes.value,
    readInterval: nanoseconds(card.readInterval.value),
    writeInterval: nanoseconds(card.writeInterval.value),
    writeFixed: nanoseconds(card.writeFixed.value),
    writePerByte: nanoseconds(card.writePerByte.value),
  });
  const api = new DmaApi({
    profile: kernelProfile(PROFILE),
    costs: costs.dma,
    memory,
    frames,
    iommu,
    counters,
    trace: null,
    timers: null,
    cpus: 1,
    log: null,
  });
  const device = createDmaDevice({ name: '0000:03:00.0', sourceId: SOURCE_ID });
  api.attach(device, 'strict');
  const cpu = new Cpu(0);
  const addresses: number[] = [];
  /** Mean latency of small reads at random pages of a window, in nanoseconds. */
  return (pages: number, reads: number): number => {
    while (addresses.length < pages) {
      const phys = physAddr(frames.allocatePage() * PAGE_SIZE);
      addresses.push(api.dmaMapPhys(cpu, device, phys, PAGE_SIZE, DMA_BIDIRECTIONAL, 0));
    }
    const random = new RandomStream(11).fork(String(pages));
    const next = (): number => addresses[random.below(pages)]!;
    bench.readLatency('command', 8, Math.max(2_000, pages * 4), next);
    return bench.readLatency('command', 8, reads, next) / 1000;
  };
}

/** K, m and b by two windows beyond K, as `mean = b + m (1 - K / N)` has it. */
function fit(measure: (pages: number, reads: number) => number, entries: number): MeasuredCurve {
  const baseNs = measure(Math.max(1, Math.floor(entries / 2)), 500);
  const few = Math.max(64, 2 * entries);
  const many = Math.max(512, 6 * entries);
  const overFew = measure(few, 30_000) - baseNs;
  const overMany = measure(many, 30_000) - baseNs;
  const ratio = overFew / overMany;
  const found = (few * (1 - ratio)) / (1 - (ratio * few) / many);
  return { entries: found, missNs: overMany / (1 - found / many), baseNs };
}

describe('a machine from K, m and b', () => {
  it('gives them back to the measurement that they come from', () => {
    const figures = fc.record({
      entries: fc.oneof(fc.integer({ min: 2, max: 64 }), fc.integer({ min: 65, max: 600 })),
      missNs: fc.double({ min: 20, max: 900, noNaN: true }),
      baseNs: fc.double({ min: 300, max: 1500, noNaN: true }),
    });
    fc.assert(
      fc.property(figures, (curve) => {
        const found = fit(measuringMachine(curve), curve.entries);
        expect(Math.abs(found.baseNs - curve.baseNs)).toBeLessThan(1);
        expect(Math.abs(found.missNs - curve.missNs) / curve.missNs).toBeLessThan(0.03);
        expect(Math.abs(found.entries - curve.entries)).toBeLessThan(Math.max(3, 0.03 * curve.entries));
      }),
      { seed: 18, numRuns: 30 },
    );
  });
});

describe('the preset from K, m and b', () => {
  const curve: MeasuredCurve = { entries: 119, missNs: 228, baseNs: 412 };

  it('says of every value where it comes from', () => {
    const { iommu, costs, rootPort } = measuredPreset(curve);
    for (const [name, { unit, mark, source, help }] of [iommu, costs, rootPort].flatMap(Object.entries)) {
      expect([name, unit !== '', source !== '', help !== '', mark]).toEqual([
        name,
        true,
        true,
        true,
        expect.stringMatching(/measured|derived|assumed/),
      ]);
    }
    expect(iommu['iotlbEntries4K']).toMatchObject({ value: 119, mark: 'derived' });
    expect(costs.walkOverhead).toMatchObject({ value: 153, mark: 'derived' });
    expect(costs.walkOverhead?.source).toContain('K = 119 entries, m = 228 ns, b = 412 ns');
  });

  it('makes a lab that is accepted, and leaves alone what it has no figure for', () => {
    const before = emptyLab({ iotlbReserved: 9, iotlbUnified: true, levels: 3, label: 'mine' });
    const lab = parseLab(withMeasuredPreset(before, 'iommu0', measuredPreset(curve)), 'measured');
    expect(iommuOf(lab)).toMatchObject({ iotlbEntries4K: 119, iotlbWays: 119, levels: 3, label: 'mine', walkers: 8 });
    expect(iommuOf(lab)).not.toHaveProperty('iotlbReserved');
    expect(iommuOf(lab)).not.toHaveProperty('iotlbUnified');
    expect(lab.costs.overrides).toMatchObject({ tableRead: 75, walkOverhead: 153 });
    expect(iommuOf(before).iotlbEntries4K).toBe(128);
  });

  it('is refused with the figure that cannot be', () => {
    const place = (wrong: Partial<MeasuredCurve>) => {
      try {
        measuredPreset({ ...curve, ...wrong });
      } catch (error) {
        return error instanceof LabError ? error.where : null;
      }
      return null;
    };
    expect(place({ entries: 1.5 })).toBe('entries');
    expect(place({ entries: 65_537 })).toBe('entries');
    expect(place({ missNs: -1 })).toBe('missNs');
    expect(place({ missNs: Number.NaN })).toBe('missNs');
    expect(place({ baseNs: 200 })).toBe('baseNs');
    expect(place({})).toBe(null);
  });
});
