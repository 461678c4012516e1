/** The drives of a lab with their drivers: hardware at the end of its link, and the driver over the scheme of the run. */
import { NVME_DRIVE_DEFAULTS, NvmeDrive } from '../devices/nvmeDrive.ts';
import { NvmeDriver } from '../drivers/nvmeDriver.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { createScheme } from '../schemes/schemes.ts';
import type { EventQueue } from '../time/eventQueue.ts';
import { PICOSECONDS_PER_MICROSECOND, picoseconds, type Picoseconds } from '../time/picoseconds.ts';
import type { AttachedDevice, DeviceSurroundings } from './buildDevices.ts';
import type { PartOf } from './schema.ts';

const GIB = 2 ** 30;
const KIB = 2 ** 10;

/** A drive of the machine, or one of its virtual functions. */
export interface MachineDrive extends AttachedDevice {
  readonly kind: 'nvme';
  readonly driver: NvmeDriver;
}

/** What makes of each attached drive one with a driver, the physical function of a part before its virtual ones. */
export function buildDrives(
  surroundings: DeviceSurroundings,
): (attached: AttachedDevice, part: PartOf<'nvme'>) => MachineDrive {
  const { comparison, metrics, events, work, dma: shared } = surroundings;
  const { counters, log } = metrics;
  // The first function of each part, which is the physical one: its virtual ones share its medium.
  const hardware = new Map<PartOf<'nvme'>, NvmeDrive>();
  return (attached, part) => {
    const { id, device, dma, host } = attached;
    const drive = buildDrive(attached, part, hardware.get(part) ?? null, events, metrics);
    if (!hardware.has(part)) hardware.set(part, drive);
    const { profile } = shared;
    const driver = new NvmeDriver(
      { dma, memory: host.cpuMemory, work, counters, metrics: attached.metrics, log },
      {
        name: id,
        device,
        drive,
        profile,
        scheme: createScheme(comparison.scheme, dma, device, profile, `comparison[${comparison.id}].scheme`),
        costs: surroundings.costs.nvme,
        queues: work.cpus.length,
        queueDepth: part.queueDepth,
      },
    );
    return { ...attached, kind: 'nvme', driver };
  };
}

function buildDrive(
  { id, port }: AttachedDevice,
  part: PartOf<'nvme'>,
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
