/**
 * Strict map and unmap of one page in a loop on many CPUs behind one SMMUv3 (linux-iommu, 2020, Kunpeng 920: "iommu/arm-smmu-v3:
 * Optimise arm_smmu_cmdq_issue_cmdlist"), before and after the compare-and-exchange loop of the command queue went. The loop runs
 * through the DMA API, its page table and its IOVA caches, and puts real commands into the SMMU's queue; what the CPUs cost each
 * other is the queue's shared line and its one hardware (smmu/queueContention.ts), by a preset of costs and nothing else.
 * Leaves out: sockets; what the CPUs do beside the loop.
 */
import smmuScalingPreset from '../../../fixtures/presets/smmu-scaling.json' with { type: 'json' };
import { DMA_BIDIRECTIONAL } from '../../dma/attributes.ts';
import { createDmaDevice } from '../../dma/device.ts';
import { DmaApi } from '../../dma/dmaApi.ts';
import { dmaCostParameters, resolveDmaCosts } from '../../dma/kernels/costs.ts';
import { kernelProfile } from '../../dma/kernels/profiles.ts';
import { FREE_IOMMU_COSTS } from '../../iommu/freeCosts.ts';
import { Iommu } from '../../iommu/iommu.ts';
import { PAGE_SIZE } from '../../memory/addresses.ts';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { Counters } from '../../metrics/counters.ts';
import { Cpu } from '../../time/cpu.ts';
import {
  nanoseconds,
  picoseconds,
  PICOSECONDS_PER_NANOSECOND,
  PICOSECONDS_PER_SECOND,
} from '../../time/picoseconds.ts';
import { RandomStream } from '../../time/random.ts';
import type { SmmuScalingReference } from './referenceFile.ts';
import type { ReproduceOptions } from './reproduce.ts';

const KERNEL = '6.12';
const MEMORY_BYTES = 2 ** 30;
const SEED = 64;
/** Pairs that are counted on each CPU, after those that fill its caches and spread the CPUs out. */
const WARM_PAIRS = 20;
const FEWEST_PAIRS = 40;
const ALL_PAIRS = 8_000;
const RANDOM_STEPS = 1024;

export function reproduceSmmuScaling(reference: SmmuScalingReference, options: ReproduceOptions): void {
  const { parameters } = smmuScalingPreset;
  const { cpus, before, after } = reference;
  const columns = [
    { name: 'after', counted: true, measured: after, perWaitingCpu: parameters.perWaitingCpu.value },
    { name: 'before', counted: false, measured: before ?? [], perWaitingCpu: parameters.perWaitingCpuLoop.value },
  ];
  for (const { name, counted, measured, perWaitingCpu } of columns) {
    if (measured.length === 0 || (options.system !== null && !name.startsWith(options.system))) continue;
    const points = cpus.map((count, index) => ({
      x: String(count),
      model: pairsPerSecond(count, perWaitingCpu),
      reference: measured[index]!,
    }));
    options.onSeries({ name, unit: 'pairs/s a CPU', xName: 'CPUs', counted, points });
  }
}

/** Map and unmap pairs a second that each of so many CPUs does. `perWaitingCpu` in ns, see the preset. */
export function pairsPerSecond(cpuCount: number, perWaitingCpu: number): number {
  const { parameters } = smmuScalingPreset;
  const { api, device, cpus } = scalingMachine(cpuCount, perWaitingCpu);
  const random = new RandomStream(SEED);
  const work = parameters.loopWork.value * PICOSECONDS_PER_NANOSECOND;
  const spread = parameters.loopWorkSpread.value;
  const share = (): number => (2 * random.below(RANDOM_STEPS)) / (RANDOM_STEPS - 1) - 1;
  for (const cpu of cpus) cpu.spend(picoseconds(Math.round(work * (1 + share()))));

  const pairs = Math.max(FEWEST_PAIRS, Math.ceil(ALL_PAIRS / cpuCount));
  const done = new Int32Array(cpuCount);
  const worked = new Uint8Array(cpuCount);
  const warmAt = new Float64Array(cpuCount);
  let rates = 0;
  for (let finished = 0; finished < cpuCount;) {
    const cpu = earliest(cpus);
    const { id } = cpu;
    if (worked[id] === 0) {
      cpu.spend(picoseconds(Math.round(work * (1 + spread * share()))));
      worked[id] = 1;
      continue;
    }
    const address = api.dmaMapPhys(cpu, device, (1 + id) * PAGE_SIZE, PAGE_SIZE, DMA_BIDIRECTIONAL, 0);
    api.dmaUnmapPhys(cpu, device, address, PAGE_SIZE, DMA_BIDIRECTIONAL, 0);
    worked[id] = 0;
    done[id]! += 1;
    if (done[id] === WARM_PAIRS) warmAt[id] = cpu.now;
    // every CPU goes on until the last one has done its pairs, so that all are measured under full load
    if (done[id] === WARM_PAIRS + pairs) {
      rates += (pairs * PICOSECONDS_PER_SECOND) / (cpu.now - warmAt[id]!);
      finished += 1;
    }
  }
  return rates / cpuCount;
}

function scalingMachine(cpuCount: number, perWaitingCpu: number) {
  const { parameters } = smmuScalingPreset;
  const memory = new PhysicalMemory(MEMORY_BYTES);
  const pages = MEMORY_BYTES / PAGE_SIZE;
  const frames = new FrameAllocator(memory, pages / 2, pages / 2);
  const counters = new Counters();
  const iommu = new Iommu({
    name: 'smmu0',
    memory,
    frames,
    counters,
    log: null,
    vendor: 'smmuv3',
    geometry: {
      iotlb: { entries4K: 64, entries2M: 16, entries1G: 4, ways: 4 },
      pagingCache: { entries512G: 4, entries1G: 4, entries2M: 16 },
      contextCacheEntries: 4,
      walkers: 1,
    },
    costs: {
      ...FREE_IOMMU_COSTS,
      invalidationWait: nanoseconds(parameters.invalidationWait.value),
      invalidationService: nanoseconds(parameters.invalidationService.value),
    },
    queueContention: {
      sharedLine: nanoseconds(parameters.sharedLine.value),
      perWaitingCpu: nanoseconds(perWaitingCpu),
    },
  });
  const api = new DmaApi({
    profile: kernelProfile(KERNEL),
    costs: resolveDmaCosts(dmaCostParameters('published-nanoseconds', KERNEL)),
    memory,
    frames,
    iommu,
    counters,
    trace: null,
    timers: null,
    cpus: cpuCount,
    log: null,
  });
  const device = createDmaDevice({ name: '0000:74:02.0', sourceId: 0x7410 });
  api.attach(device, 'strict');
  return { api, device, cpus: Array.from({ length: cpuCount }, (_, id) => new Cpu(id)) };
}

/** Whose clock is least advanced acts next. */
function earliest(cpus: readonly Cpu[]): Cpu {
  let first = cpus[0]!;
  for (const cpu of cpus) if (cpu.now < first.now) first = cpu;
  return first;
}
