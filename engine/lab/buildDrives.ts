/**
 * The drives of a lab with their drivers: hardware at the end of its link, the device as the kernel knows it, its domain, and the
 * driver over the scheme of the run. The devices of one IOMMU group share a domain; those behind one IOMMU share its tables.
 */
import { NVME_DRIVE_DEFAULTS, NvmeDrive } from '../devices/nvmeDrive.ts';
import { createDmaDevice, dmaBitMask, type DmaDevice } from '../dma/device.ts';
import type { DmaApi } from '../dma/dmaApi.ts';
import type { DmaApiOptions } from '../dma/dmaApiOptions.ts';
import type { DmaTrace } from '../dma/trace.ts';
import type { CpuWork } from '../drivers/cpuWork.ts';
import { NvmeDriver } from '../drivers/nvmeDriver.ts';
import type { NvmeCosts } from '../drivers/nvmeCosts.ts';
import type { DeviceTlb } from '../iommu/ats/deviceTlb.ts';
import type { Iommu } from '../iommu/iommu.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { createScheme } from '../schemes/schemes.ts';
import type { EventQueue } from '../time/eventQueue.ts';
import { PICOSECONDS_PER_MICROSECOND, picoseconds, type Picoseconds } from '../time/picoseconds.ts';
import type { LabChecker } from './apiChecker.ts';
import type { Host } from './buildHosts.ts';
import type { DriveSlot } from './buildTopology.ts';
import { DriveMetrics } from './driveMetrics.ts';
import type { Comparison, PartOf } from './schema.ts';

const GIB = 2 ** 30;
const KIB = 2 ** 10;

/** A drive of the machine, or one of its virtual functions. */
export interface MachineDrive {
  /** Of its part, or `nvme0.vf1`. */
  readonly id: string;
  /** As the DMA API knows it. */
  readonly device: DmaDevice;
  readonly dma: DmaApi;
  readonly driver: NvmeDriver;
  /** The one that translates for it; null: none does. */
  readonly iommu: Iommu | null;
  readonly group: number;
  readonly host: Host;
  readonly metrics: DriveMetrics;
  readonly deviceTlb: DeviceTlb | null;
}

export interface DriveSurroundings {
  readonly comparison: Comparison;
  readonly checking: LabChecker;
  readonly metrics: Metrics;
  readonly events: EventQueue;
  readonly work: CpuWork;
  readonly costs: NvmeCosts;
  /** What is the same for all DMA APIs of the machine. */
  readonly dma: Omit<DmaApiOptions, 'frames' | 'iommu' | 'domains' | 'cachingMode' | 'trace'>;
  /** Called once for each IOVA space, with the drives that share it. */
  readonly listen: ((drives: readonly string[]) => DmaTrace) | null;
}

export function buildDrives(slots: readonly DriveSlot[], surroundings: DriveSurroundings): readonly MachineDrive[] {
  const { comparison, checking, metrics, events, work, dma: shared, listen } = surroundings;
  const { counters, log } = metrics;
  const drives: MachineDrive[] = [];
  // The first function of each part, which is the physical one: its virtual ones share its medium.
  const hardware = new Map<PartOf<'nvme'>, NvmeDrive>();
  for (const slot of slots) {
    const { id, part, host, port, group, node, deviceTlb } = slot;
    const drive = buildDrive(slot, hardware.get(part) ?? null, events, metrics);
    if (!hardware.has(part)) hardware.set(part, drive);
    const member = drives.find((other) => other.group === group);
    const sharing = slots.filter((other) => other.group === group).map((other) => other.id);
    const dma =
      member?.dma ??
      checking.createDma(
        {
          ...shared,
          frames: host.frames,
          iommu: host.iommu,
          domains: host.domains,
          cachingMode: host.iommuPart?.cachingMode ?? false,
          trace: listen?.(sharing) ?? null,
        },
        host.node,
      );
    const mask = dmaBitMask(part.dmaMaskBits ?? 64);
    const device = createDmaDevice({
      name: node.name,
      sourceId: port.sourceId,
      dmaMask: mask,
      coherentDmaMask: mask,
      untrusted: part.untrusted ?? false,
      ats: deviceTlb !== null,
    });
    dma.attach(device, host.iommu === null ? 'none' : comparison.domain, member?.device ?? null);
    const driveMetrics = new DriveMetrics(metrics);
    const { profile } = shared;
    const driver = new NvmeDriver(
      { dma, memory: host.cpuMemory, work, counters, metrics: driveMetrics, log },
      {
        name: id,
        device,
        drive,
        profile,
        scheme: createScheme(comparison.scheme, dma, device, profile, `comparison[${comparison.id}].scheme`),
        costs: surroundings.costs,
        queues: work.cpus.length,
        queueDepth: part.queueDepth,
      },
    );
    drives.push({ id, device, dma, driver, iommu: host.iommu, group, host, metrics: driveMetrics, deviceTlb });
  }
  return drives;
}

function buildDrive(
  { id, part, port }: DriveSlot,
  sharing: NvmeDrive | null,
  events: EventQueue,
  { counters, log }: Metrics,
): NvmeDrive {
  return new NvmeDrive(
    { port, events, counters, log },
    {
      ...NVME_DRIVE_DEFAULTS,
      name: id,
      capacityBytes: part.capacityGiB * GIB,
      maxQueueEntries: part.queueDepth,
      maxTransferBytes: part.maxTransferKiB * KIB,
      sgl: part.sgl,
      media: {
        channels: part.channels,
        readLatency: microseconds(part.readLatencyUs),
        writeLatency: microseconds(part.writeLatencyUs),
        maxReadBytesPerSecond: part.maxReadMBps * 1e6,
        maxWriteBytesPerSecond: part.maxWriteMBps * 1e6,
        maxIops: part.maxIops,
      },
    },
    sharing,
  );
}

function microseconds(value: number): Picoseconds {
  return picoseconds(Math.round(value * PICOSECONDS_PER_MICROSECOND));
}
