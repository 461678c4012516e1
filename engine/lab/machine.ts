/**
 * From a lab document to a machine: sockets with their memory and IOMMUs, the PCIe fabric, drives with their drivers, workloads,
 * and the metrics that all of them report to. The parts are put together in build*.ts; this is the order.
 */
import type { ApiChecker } from '../dma/checker/apiChecker.ts';
import type { LedgerClock } from '../dma/iova/iovaLedger.ts';
import { kernelProfile } from '../dma/kernels/profiles.ts';
import type { DmaCosts } from '../dma/kernels/costs.ts';
import { Swiotlb, swiotlbAreas } from '../dma/swiotlb/swiotlb.ts';
import { IO_TLB_SIZE } from '../dma/swiotlb/swiotlbPool.ts';
import type { DmaTrace } from '../dma/trace.ts';
import { CpuWork } from '../drivers/cpuWork.ts';
import type { Iommu } from '../iommu/iommu.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import type { FrameAllocator } from '../memory/frameAllocator.ts';
import type { PhysicalMemory } from '../memory/physicalMemory.ts';
import { Metrics } from '../metrics/metrics.ts';
import type { Cpu } from '../time/cpu.ts';
import { EventQueue } from '../time/eventQueue.ts';
import { LabError } from '../time/labError.ts';
import { picoseconds } from '../time/picoseconds.ts';
import { RandomStream } from '../time/random.ts';
import type { RecordingFiles } from '../workloads/recordedRequest.ts';
import type { Workload } from '../workloads/workload.ts';
import { createChecker } from './apiChecker.ts';
import { buildDrives, type MachineDrive } from './buildDrives.ts';
import { buildHosts, type Host } from './buildHosts.ts';
import { buildTopology } from './buildTopology.ts';
import { buildWorkload } from './buildWorkloads.ts';
import { enumerate } from './enumeration.ts';
import { resolveCosts } from './presets.ts';
import type { Comparison, LabDocument, LabWorkload } from './schema.ts';

export interface Machine {
  readonly events: EventQueue;
  readonly metrics: Metrics;
  /** By the id of their parts, in the order of their sockets. */
  readonly iommus: ReadonlyMap<string, Iommu>;
  /** In the order of their PCI addresses. */
  readonly drives: readonly MachineDrive[];
  readonly workloads: readonly Workload[];
  /** Of all sockets. */
  readonly cpus: readonly Cpu[];
  /** Null where the lab does not check the calls of the API. */
  readonly checker: ApiChecker | null;
  /** The workloads are done, and the drivers let go of their devices: the checker looks for what they left behind. */
  releaseDrivers(): void;
}

/** Makes a listener to the DMA API for each IOVA space, told which drives share it. */
export type SpaceListener = (clock: LedgerClock, drives: readonly string[]) => DmaTrace;

const MIB = 2 ** 20;
const KIB = 2 ** 10;
const GIB = 2 ** 30;

export function buildMachine(
  lab: LabDocument,
  comparison: Comparison,
  recordings: ReadonlyMap<string, RecordingFiles>,
  listen: SpaceListener | null = null,
): Machine {
  const costs = resolveCosts(lab.costs, lab.kernelProfile);
  const profile = kernelProfile(lab.kernelProfile);
  const metrics = new Metrics();
  const { counters, log } = metrics;
  const events = new EventQueue();
  const { parts } = lab.topology;
  const { memory, memorySystem, hosts } = buildHosts(parts, enumerate(parts), costs.hardware, metrics);
  const checking = createChecker(lab, comparison, log);
  const translators = hosts.map((host) => checking.translatorFor(host.iommu, host.node));
  const { remoteSocket } = costs.hardware;
  const fabricCosts = { ...costs.hardware, betweenHostBridges: picoseconds(Math.round(remoteSocket / 2)) };
  const slots = buildTopology(
    hosts,
    translators,
    { events, memory, costs: fabricCosts, counters },
    memorySystem,
    comparison.domain !== 'passthrough',
  );

  const cpus = hosts.flatMap((host) => host.cpus);
  const work = new CpuWork(events, cpus);
  const drives = buildDrives(slots, {
    comparison,
    checking,
    metrics,
    events,
    work,
    costs: costs.nvme,
    dma: {
      profile,
      costs: costs.dma,
      memory,
      counters,
      timers: events,
      cpus: cpus.length,
      log,
      swiotlb: buildSwiotlb(memory, hosts, cpus.length, costs.dma, metrics),
    },
    listen: listen === null ? null : (sharing) => listen(work, sharing),
  });
  const random = new RandomStream(lab.seed);
  // Workloads of one socket begin on CPUs of their own, as far as there are any.
  const cpusTaken = new Map<Host, number>();
  const workloads = lab.workloads.map((workload) => {
    const drive = drives.find(({ id }) => id === workload.device);
    if (drive === undefined) throw new Error(`the machine has no drive "${workload.device}"`);
    const { host } = drive;
    const taken = cpusTaken.get(host) ?? 0;
    cpusTaken.set(host, taken + (workload.kind === 'bio' ? workload.cpus : 0));
    const near = host.cpus.map((_, index) => host.cpus[(taken + index) % host.cpus.length]!);
    const machine = {
      driver: drive.driver,
      work,
      memory: host.cpuMemory,
      frames: framesOf(workload, host, hosts),
      cpus: [...near, ...cpus.filter((cpu) => !near.includes(cpu))],
      ...(memorySystem === null || host.cpuMemory === memory
        ? {}
        : { wrote: (phys: number, bytes: number) => memorySystem.cpuWrite(host.node, phys, bytes) }),
    };
    return buildWorkload(workload, machine, recordings, random.fork(`workload ${workload.id}`));
  });
  // Queues and pools that the drivers set up are not the workloads' doing.
  counters.values.fill(0);
  return {
    events,
    metrics,
    iommus: new Map(hosts.flatMap(({ iommuPart, iommu }) => (iommu === null ? [] : [[iommuPart!.id, iommu]]))),
    drives,
    workloads,
    cpus,
    checker: checking.checker,
    releaseDrivers: () => {
      for (const { driver, device, dma, host } of drives) {
        driver.release(host.cpus[0]!);
        checking.releaseDriver(host.cpus[0]!, device, dma);
      }
    },
  };
}

/** A recording names the pages of a machine with one node; other buffers lie on the node of their drive, or where the lab says. */
function framesOf(workload: LabWorkload, near: Host, hosts: readonly Host[]): FrameAllocator {
  if (workload.kind === 'replay') return hosts[0]!.frames;
  const chosen = hosts.find(({ memoryPart }) => memoryPart.id === workload.memory);
  return (chosen ?? near).frames;
}

/** The pool of the machine lies on its first node. Nobody who listens to a device's IOVA space hears of it. */
function buildSwiotlb(
  memory: PhysicalMemory,
  hosts: readonly Host[],
  cpus: number,
  costs: DmaCosts,
  { counters, log }: Metrics,
): Swiotlb | null {
  const { memoryPart, frames } = hosts[0]!;
  const pool = memoryPart.swiotlb;
  if (pool === undefined) return null;
  const slots = (pool.sizeMiB * MIB) / IO_TLB_SIZE;
  const firstPage = placeBouncePool(frames, memoryPart.id, pool.sizeMiB);
  const areas = swiotlbAreas(cpus, slots);
  return new Swiotlb({ memory, firstPage, slots, areas, force: pool.force, costs, counters, trace: null, log });
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
