/**
 * From a lab document to a machine: sockets with their memory and IOMMUs, the PCIe fabric, devices with their drivers, workloads,
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
import { PageKinds } from '../memory/pageKinds.ts';
import type { PhysicalMemory } from '../memory/physicalMemory.ts';
import type { EventLog } from '../metrics/eventLog.ts';
import { Metrics } from '../metrics/metrics.ts';
import { P2pdmaDistances } from '../pcie/p2pdmaDistance.ts';
import type { Cpu } from '../time/cpu.ts';
import { EventQueue } from '../time/eventQueue.ts';
import { LabError } from '../time/labError.ts';
import { picoseconds } from '../time/picoseconds.ts';
import { RandomStream } from '../time/random.ts';
import type { RecordingFiles } from '../workloads/recordedRequest.ts';
import type { Workload } from '../workloads/workload.ts';
import { createChecker } from './apiChecker.ts';
import { buildDevices, type MachineDevice } from './buildDevices.ts';
import type { MachineDrive } from './buildDrives.ts';
import { buildHosts, type Host } from './buildHosts.ts';
import { buildTopology, type Topology } from './buildTopology.ts';
import { buildWorkload, type WorkloadSurroundings } from './buildWorkloads.ts';
import { enumerate } from './enumeration.ts';
import { peerWindows } from './peerWindows.ts';
import { resolveCosts } from './presets.ts';
import type { Comparison, LabDocument, LabWorkload, Part } from './schema.ts';

export interface Machine {
  readonly events: EventQueue;
  readonly metrics: Metrics;
  /** By the id of their parts, in the order of their sockets. */
  readonly iommus: ReadonlyMap<string, Iommu>;
  /** In the order of their PCI addresses. */
  readonly devices: readonly MachineDevice[];
  readonly drives: readonly MachineDrive[];
  readonly workloads: readonly Workload[];
  /** Of all sockets. */
  readonly cpus: readonly Cpu[];
  /** Null where the lab does not check the calls of the API. */
  readonly checker: ApiChecker | null;
  /** The workloads are done, and the drivers let go of their devices: the checker looks for what they left behind. */
  releaseDrivers(): void;
}

/** Makes a listener to the DMA API for each IOVA space, told which devices share it. */
export type SpaceListener = (clock: LedgerClock, devices: readonly string[]) => DmaTrace;

/** Every host bridge of an AMD processor since Zen passes peers' requests; of others the bridges themselves are asked. */
const ZEN = { vendor: 'amd', family: 0x17 } as const;
const NO_LISTED_CPU = { vendor: 'intel', family: 6 } as const;
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
  const windows = peerWindows(parts);
  const { memory, memorySystem, hosts } = buildHosts(parts, enumerate(parts), costs.hardware, metrics, windows?.end);
  const checking = createChecker(lab, comparison, log);
  const translators = hosts.map((host) => checking.translatorFor(host.iommu, host.node));
  const { remoteSocket } = costs.hardware;
  const fabricCosts = { ...costs.hardware, betweenHostBridges: picoseconds(Math.round(remoteSocket / 2)) };
  const topology = buildTopology(
    hosts,
    translators,
    { events, memory, costs: fabricCosts, counters },
    memorySystem,
    comparison.domain !== 'passthrough',
    windows,
  );

  const pageKinds = windows === null ? null : new PageKinds();
  const cpus = hosts.flatMap((host) => host.cpus);
  const work = new CpuWork(events, cpus);
  const devices = buildDevices(topology, windows, {
    comparison,
    checking,
    metrics,
    events,
    work,
    costs: { nvme: costs.nvme, fabric: fabricCosts },
    dma: {
      profile,
      costs: costs.dma,
      memory,
      counters,
      timers: events,
      cpus: cpus.length,
      log,
      swiotlb: buildSwiotlb(memory, hosts, cpus.length, costs.dma, metrics),
      ...(pageKinds === null ? {} : { pageKinds, p2pdma: peerDecisions(topology, parts, log) }),
    },
    listen: listen === null ? null : (sharing) => listen(work, sharing),
  });
  const drives = devices.filter((device) => device.kind === 'nvme');
  const random = new RandomStream(lab.seed);
  // Workloads of one socket begin on CPUs of their own, as far as there are any.
  const cpusTaken = new Map<Host, number>();
  const surroundings: WorkloadSurroundings = {
    devices,
    events,
    work,
    pageKinds,
    metrics,
    costs,
    comparison,
    recordings,
  };
  const workloads = lab.workloads.map((workload) => {
    const device = devices.find(({ id }) => id === workload.device);
    if (device === undefined) throw new Error(`the machine has no device "${workload.device}"`);
    const { host } = device;
    const taken = cpusTaken.get(host) ?? 0;
    cpusTaken.set(host, taken + (workload.kind === 'replay' ? 0 : workload.kind === 'bio' ? workload.cpus : 1));
    const near = host.cpus.map((_, index) => host.cpus[(taken + index) % host.cpus.length]!);
    const place = {
      frames: framesOf(workload, host, hosts),
      cpus: [...near, ...cpus.filter((cpu) => !near.includes(cpu))],
      ...(memorySystem === null || host.cpuMemory === memory
        ? {}
        : { wrote: (phys: number, bytes: number) => memorySystem.cpuWrite(host.node, phys, bytes) }),
    };
    return buildWorkload(workload, device, place, surroundings, random.fork(`workload ${workload.id}`));
  });
  // Queues and pools that the drivers set up are not the workloads' doing.
  counters.values.fill(0);
  return {
    events,
    metrics,
    iommus: new Map(hosts.flatMap(({ iommuPart, iommu }) => (iommu === null ? [] : [[iommuPart!.id, iommu]]))),
    devices,
    drives,
    workloads,
    cpus,
    checker: checking.checker,
    releaseDrivers: () => {
      for (const each of devices) {
        if (each.kind === 'nvme') each.driver.release(each.host.cpus[0]!);
        checking.releaseDriver(each.host.cpus[0]!, each.device, each.dma);
      }
    },
  };
}

/** A recording names the pages of a machine with one node; other buffers lie on the node of their device, or where the lab says. */
function framesOf(workload: LabWorkload, near: Host, hosts: readonly Host[]): FrameAllocator {
  if (workload.kind === 'replay') return hosts[0]!.frames;
  const chosen = hosts.find(({ memoryPart }) => 'memory' in workload && memoryPart.id === workload.memory);
  return (chosen ?? near).frames;
}

/** Who reaches which peer, as the kernel decides; its warnings go to the log, each once. */
function peerDecisions({ tree }: Topology, parts: readonly Part[], log: EventLog): P2pdmaDistances {
  const zen = parts.some((part) => part.kind === 'socket' && part.hostBridge === 'amd_zen');
  const told = new Set<string>();
  return new P2pdmaDistances(tree, zen ? ZEN : NO_LISTED_CPU, (message) => {
    if (told.has(message)) return;
    told.add(message);
    log.add(0, 'warning', 'p2pdma', message);
  });
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
