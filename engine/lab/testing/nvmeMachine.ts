/**
 * A small machine for tests: memory, an IOMMU, a root port with one NVMe drive, its driver over a scheme. It is put together
 * by hand, so that a test of drive and driver does not depend on lab documents.
 */
import { NVME_DRIVE_DEFAULTS, NvmeDrive } from '../../devices/nvmeDrive.ts';
import { dmaCostParameters, resolveDmaCosts } from '../../dma/kernels/costs.ts';
import { createDmaDevice, type DmaDevice, type DomainType } from '../../dma/device.ts';
import { DmaApi } from '../../dma/dmaApi.ts';
import { kernelProfile, type KernelProfileName } from '../../dma/kernels/profiles.ts';
import { CpuWork } from '../../drivers/cpuWork.ts';
import { resolveNvmeCosts } from '../../drivers/nvmeCosts.ts';
import { NvmeDriver } from '../../drivers/nvmeDriver.ts';
import { Iommu } from '../../iommu/iommu.ts';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { Metrics } from '../../metrics/metrics.ts';
import { Fabric } from '../../pcie/fabric.ts';
import type { SchemeName } from '../../schemes/scheme.ts';
import { createScheme } from '../../schemes/schemes.ts';
import { Cpu } from '../../time/cpu.ts';
import { EventQueue } from '../../time/eventQueue.ts';
import { nanoseconds } from '../../time/picoseconds.ts';

export interface NvmeMachineOptions {
  readonly profile?: KernelProfileName;
  readonly scheme?: SchemeName;
  readonly domain?: DomainType;
  readonly cpus?: number;
  readonly queueDepth?: number;
  readonly sgl?: boolean;
  readonly capacityBytes?: number;
  readonly memoryBytes?: number;
}

export interface NvmeMachine {
  readonly events: EventQueue;
  readonly memory: PhysicalMemory;
  readonly frames: FrameAllocator;
  readonly metrics: Metrics;
  readonly iommu: Iommu;
  readonly dma: DmaApi;
  readonly device: DmaDevice;
  readonly drive: NvmeDrive;
  readonly driver: NvmeDriver;
  readonly work: CpuWork;
  /** Runs until nothing is left to happen, or until `until` says so; returns the number of events. */
  run(until?: () => boolean): number;
}

const SOURCE_ID = 0x18;

export function nvmeMachine(options: NvmeMachineOptions = {}): NvmeMachine {
  const profile = kernelProfile(options.profile ?? '7.3');
  const cpuCount = options.cpus ?? 1;
  const memoryBytes = options.memoryBytes ?? 2 ** 33;
  const events = new EventQueue();
  const metrics = new Metrics();
  const { counters, log } = metrics;
  const memory = new PhysicalMemory(memoryBytes);
  const frames = new FrameAllocator(memory, 256, memoryBytes / 4096 - 256);
  const iommu = new Iommu({
    name: 'iommu0',
    memory,
    frames,
    geometry: {
      iotlb: { entries4K: 128, entries2M: 32, entries1G: 4, ways: 4 },
      pagingCache: { entries512G: 8, entries1G: 16, entries2M: 64 },
      contextCacheEntries: 16,
      walkers: 6,
    },
    costs: {
      iotlbHit: nanoseconds(2),
      contextCacheHit: nanoseconds(1),
      pagingCacheLookup: nanoseconds(2),
      tableRead: nanoseconds(75),
      walkOverhead: nanoseconds(150),
      invalidationWait: nanoseconds(900),
      invalidationService: nanoseconds(350),
      invalidationDescriptor: nanoseconds(60),
    },
    counters,
    log,
  });
  const fabric = new Fabric({
    events,
    memory,
    translator: options.domain === 'none' ? null : iommu,
    costs: { rootComplex: nanoseconds(90), memoryRead: nanoseconds(65), mmioWrite: nanoseconds(250) },
    counters,
  });
  const rootPort = fabric.addRootPort({
    generation: 4,
    lanes: 4,
    maxPayloadSize: 256,
    maxReadRequestSize: 512,
    propagation: nanoseconds(120),
  });
  const drive = new NvmeDrive(
    { port: rootPort.addFunction(SOURCE_ID), events, counters, log },
    {
      name: 'nvme0',
      capacityBytes: options.capacityBytes ?? 2 ** 40,
      maxQueueEntries: 4096,
      maxTransferBytes: 2 ** 20,
      sgl: options.sgl ?? true,
      commandSlots: NVME_DRIVE_DEFAULTS.commandSlots,
      transferBuffers: NVME_DRIVE_DEFAULTS.transferBuffers,
      media: {
        channels: NVME_DRIVE_DEFAULTS.channels,
        readLatency: nanoseconds(70_000),
        writeLatency: nanoseconds(15_000),
        maxReadBytesPerSecond: 7e9,
        maxWriteBytesPerSecond: 5e9,
        maxIops: 1e6,
      },
    },
  );
  const dma = new DmaApi({
    profile,
    costs: resolveDmaCosts(dmaCostParameters('recorded-instructions', profile.name)),
    memory,
    frames,
    iommu: options.domain === 'none' ? null : iommu,
    counters,
    trace: null,
    timers: events,
    cpus: cpuCount,
    log,
  });
  const device = createDmaDevice({ name: '0000:00:03.0', sourceId: SOURCE_ID });
  dma.attach(device, options.domain ?? 'strict');
  const work = new CpuWork(
    events,
    Array.from({ length: cpuCount }, (_, id) => new Cpu(id)),
  );
  const driver = new NvmeDriver(
    { dma, memory, work, counters, metrics, log },
    {
      name: 'nvme0',
      device,
      drive,
      profile,
      scheme: createScheme(options.scheme ?? 'two_step', dma, device, profile, 'comparison'),
      costs: resolveNvmeCosts(),
      queues: cpuCount,
      queueDepth: options.queueDepth ?? 1024,
    },
  );
  const run = (until: () => boolean = () => false): number => {
    let count = 0;
    while (!until() && events.step()) count += 1;
    return count;
  };
  return { events, memory, frames, metrics, iommu, dma, device, drive, driver, work, run };
}
