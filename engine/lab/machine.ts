/**
 * From a lab document to a machine: memory, fabric, IOMMU, drive, DMA API, driver, workloads, and the metrics that all of them
 * report to. The one place that knows every part. Leaves out: more than one socket, root port and drive (crossCheck.ts
 * says so to whoever asks for them).
 */
import { NVME_DRIVE_DEFAULTS, NvmeDrive } from '../devices/nvmeDrive.ts';
import type { ApiChecker } from '../dma/checker/apiChecker.ts';
import { createDmaDevice, dmaBitMask, type DmaDevice } from '../dma/device.ts';
import type { DmaApi } from '../dma/dmaApi.ts';
import type { LedgerClock } from '../dma/iova/iovaLedger.ts';
import { kernelProfile } from '../dma/kernels/profiles.ts';
import { Swiotlb, swiotlbAreas } from '../dma/swiotlb/swiotlb.ts';
import { IO_TLB_SIZE } from '../dma/swiotlb/swiotlbPool.ts';
import type { DmaTrace } from '../dma/trace.ts';
import { CpuWork } from '../drivers/cpuWork.ts';
import { NvmeDriver } from '../drivers/nvmeDriver.ts';
import { Iommu } from '../iommu/iommu.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import { FrameAllocator } from '../memory/frameAllocator.ts';
import { PhysicalMemory } from '../memory/physicalMemory.ts';
import { Metrics } from '../metrics/metrics.ts';
import { Fabric } from '../pcie/fabric.ts';
import { createScheme } from '../schemes/schemes.ts';
import { Cpu } from '../time/cpu.ts';
import { EventQueue } from '../time/eventQueue.ts';
import { LabError } from '../time/labError.ts';
import { PICOSECONDS_PER_MICROSECOND, nanoseconds, picoseconds, type Picoseconds } from '../time/picoseconds.ts';
import { RandomStream } from '../time/random.ts';
import { BioWorkload, type WorkloadMachine } from '../workloads/bio.ts';
import type { Recording, RecordingFiles } from '../workloads/recordedRequest.ts';
import { ReplayWorkload } from '../workloads/replay.ts';
import type { Workload } from '../workloads/workload.ts';
import { createChecker } from './apiChecker.ts';
import { resolveCosts, type HardwareCosts } from './presets.ts';
import { readRecording } from './recording.ts';
import type { Comparison, LabDocument, LabWorkload, Part, PartKind, PartOf } from './schema.ts';

export interface Machine {
  readonly events: EventQueue;
  readonly metrics: Metrics;
  readonly iommu: Iommu | null;
  readonly workloads: readonly Workload[];
  readonly dma: DmaApi;
  /** The drive, as the DMA API knows it. */
  readonly device: DmaDevice;
  readonly cpus: readonly Cpu[];
  /** Null where the lab does not check the calls of the API. */
  readonly checker: ApiChecker | null;
  /** The workloads are done, and the driver lets go of its device: the checker looks for what it left behind. */
  releaseDriver(): void;
}

const GIB = 2 ** 30;
const MIB = 2 ** 20;
const KIB = 2 ** 10;
/** Bus 1, device 0, function 0: the first function below the root port. */
const DRIVE_ADDRESS = '0000:01:00.0';
const DRIVE_SOURCE_ID = 0x100;

export function buildMachine(
  lab: LabDocument,
  comparison: Comparison,
  recordings: ReadonlyMap<string, RecordingFiles>,
  listen: ((clock: LedgerClock) => DmaTrace) | null = null,
): Machine {
  const { parts } = lab.topology;
  const socket = onePart(parts, 'socket');
  const drivePart = onePart(parts, 'nvme');
  const costs = resolveCosts(lab.costs, lab.kernelProfile);
  const profile = kernelProfile(lab.kernelProfile);
  const metrics = new Metrics();
  const { counters, log } = metrics;
  const events = new EventQueue();
  const memoryPart = onePart(parts, 'memory');
  const memoryBytes = memoryPart.sizeGiB * GIB;
  const memory = new PhysicalMemory(memoryBytes);
  // Page 0 stays free: an address of 0 is a mistake, here as in a kernel.
  const frames = new FrameAllocator(memory, 1, memoryBytes / PAGE_SIZE - 1);

  const iommuPart = parts.find((part) => part.kind === 'iommu');
  const iommu = iommuPart ? buildIommu(iommuPart, costs.hardware, memory, frames, metrics) : null;
  const checking = createChecker(lab, comparison, iommu, log);
  const { translator } = checking;
  const fabric = new Fabric({ events, memory, translator, costs: costs.hardware, counters });
  const drive = buildDrive(drivePart, onePart(parts, 'rootPort'), fabric, events, metrics);

  const cpus = Array.from({ length: socket.cpus }, (_, id) => new Cpu(id));
  const work = new CpuWork(events, cpus);
  const trace = listen?.(work) ?? null;
  const pool = memoryPart.swiotlb;
  const slots = ((pool?.sizeMiB ?? 0) * MIB) / IO_TLB_SIZE;
  const swiotlb =
    pool === undefined
      ? null
      : new Swiotlb({
          memory,
          firstPage: placeBouncePool(frames, memoryPart.id, pool.sizeMiB),
          slots,
          areas: swiotlbAreas(socket.cpus, slots),
          force: pool.force,
          costs: costs.dma,
          counters,
          trace,
          log,
        });
  const dma = checking.createDma({
    profile,
    costs: costs.dma,
    memory,
    frames,
    iommu,
    levels: iommuPart?.levels ?? 4,
    counters,
    trace,
    timers: events,
    cpus: socket.cpus,
    log,
    swiotlb,
    cachingMode: iommuPart?.cachingMode ?? false,
  });
  const mask = dmaBitMask(drivePart.dmaMaskBits ?? 64);
  const device = createDmaDevice({
    name: DRIVE_ADDRESS,
    sourceId: DRIVE_SOURCE_ID,
    dmaMask: mask,
    coherentDmaMask: mask,
    untrusted: drivePart.untrusted ?? false,
  });
  dma.attach(device, iommu === null ? 'none' : comparison.domain);
  const driver = new NvmeDriver(
    { dma, memory, work, counters, metrics, log },
    {
      name: drivePart.id,
      device,
      drive,
      profile,
      scheme: createScheme(comparison.scheme, dma, device, profile, `comparison[${comparison.id}].scheme`),
      costs: costs.nvme,
      queues: socket.cpus,
      queueDepth: drivePart.queueDepth,
    },
  );
  const machine: WorkloadMachine = { driver, work, memory, frames };
  const random = new RandomStream(lab.seed);
  const workloads = lab.workloads.map((workload) =>
    buildWorkload(workload, machine, recordings, random.fork(`workload ${workload.id}`)),
  );
  // Queues and pools that the driver set up are not the workload's doing.
  counters.values.fill(0);
  return {
    events,
    metrics,
    iommu,
    workloads,
    dma,
    device,
    cpus,
    checker: checking.checker,
    releaseDriver: () => {
      driver.release(cpus[0]!);
      checking.releaseDriver(cpus[0]!, device);
    },
  };
}

function buildIommu(
  part: PartOf<'iommu'>,
  costs: HardwareCosts,
  memory: PhysicalMemory,
  frames: FrameAllocator,
  { counters, log }: Metrics,
): Iommu {
  const geometry = {
    iotlb: {
      entries4K: part.iotlbEntries4K - (part.iotlbReserved ?? 0),
      entries2M: part.iotlbEntries2M,
      entries1G: part.iotlbEntries1G,
      ways: part.iotlbWays,
      replacement: part.iotlbReplacement ?? 'lru',
      hashed: part.iotlbHashed ?? false,
      unified: part.iotlbUnified ?? false,
    },
    pagingCache: {
      entries512G: part.pagingCache512G,
      entries1G: part.pagingCache1G,
      entries2M: part.pagingCache2M,
      ...(part.pagingCacheWays === undefined ? {} : { ways: part.pagingCacheWays }),
    },
    contextCacheEntries: part.contextCacheEntries,
    walkers: part.walkers,
  };
  const { id, vendor = 'vtd', cachingMode = false, scalableMode = false } = part;
  return new Iommu({ name: id, memory, frames, geometry, costs, counters, log, vendor, cachingMode, scalableMode });
}

/** Where every device with 32 bits of address finds it; on the boundary of a segment, as far as the kernel can. */
function placeBouncePool(frames: FrameAllocator, name: string, sizeMiB: number): number {
  const pages = (sizeMiB * MIB) / PAGE_SIZE;
  const first = frames.allocateBelow(pages, (256 * KIB) / PAGE_SIZE, (4 * GIB) / PAGE_SIZE);
  if (first === -1) {
    throw new LabError(
      `topology.parts[${name}].swiotlb.sizeMiB`,
      `no room for ${sizeMiB} MiB of bounce buffers.`,
      'Use a smaller size, or more sizeGiB.',
    );
  }
  return first;
}

function buildDrive(
  part: PartOf<'nvme'>,
  port: PartOf<'rootPort'>,
  fabric: Fabric,
  events: EventQueue,
  { counters, log }: Metrics,
): NvmeDrive {
  const rootPort = fabric.addRootPort({
    generation: port.generation,
    lanes: port.lanes,
    maxPayloadSize: port.maxPayloadSize,
    maxReadRequestSize: port.maxReadRequestSize,
    propagation: nanoseconds(port.propagationNs),
  });
  return new NvmeDrive(
    { port: rootPort.addFunction(DRIVE_SOURCE_ID), events, counters, log },
    {
      ...NVME_DRIVE_DEFAULTS,
      name: part.id,
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
  );
}

function buildWorkload(
  workload: LabWorkload,
  machine: WorkloadMachine,
  recordings: ReadonlyMap<string, RecordingFiles>,
  random: RandomStream,
): Workload {
  const name = `workloads[${workload.id}]`;
  if (workload.kind === 'replay') {
    const files = recordings.get(workload.recording);
    if (!files)
      throw new LabError(
        `${name}.recording`,
        `the lab carries no recording "${workload.recording}".`,
        'Make the lab with "import".',
      );
    const { queueDepth } = workload;
    return new ReplayWorkload(machine, recordingOf(files), queueDepth === undefined ? { name } : { name, queueDepth });
  }
  const { rw, readPercent, blockSize, blockSizeMix, queueDepth, ioCount, regionMiB, contiguity, cpus } = workload;
  return new BioWorkload(
    machine,
    {
      name,
      rw,
      readPercent,
      blockSizes: blockSizeMix ?? [{ bytes: blockSize, weight: 1 }],
      regionBytes: regionMiB * MIB,
      queueDepth,
      ioCount,
      contiguity,
      cpus,
      verify: false,
    },
    random,
  );
}

/** Runs side by side read one recording once. */
const readBefore = new WeakMap<RecordingFiles, Recording>();

function recordingOf(files: RecordingFiles): Recording {
  const recording = readBefore.get(files) ?? readRecording(files);
  readBefore.set(files, recording);
  return recording;
}

function microseconds(value: number): Picoseconds {
  return picoseconds(Math.round(value * PICOSECONDS_PER_MICROSECOND));
}

function onePart<Kind extends PartKind>(parts: readonly Part[], kind: Kind): PartOf<Kind> {
  const found = parts.find((part): part is PartOf<Kind> => part.kind === kind);
  if (!found) throw new LabError('topology.parts', `the machine has no ${kind}.`, `Add a part of the kind ${kind}.`);
  return found;
}
