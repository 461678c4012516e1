/** The workloads of an RDMA adapter: regions that are pinned, and memory that is used on demand. */
import { PAGE_SIZE } from '../memory/addresses.ts';
import { createScheme } from '../schemes/schemes.ts';
import { createPageScheme } from '../schemes/pages/pageSchemes.ts';
import { PICOSECONDS_PER_MICROSECOND, picoseconds } from '../time/picoseconds.ts';
import type { RandomStream } from '../time/random.ts';
import { createDmabufWorkload } from '../workloads/dmabuf.ts';
import { createOdpWorkload } from '../workloads/odp.ts';
import { createRdmaWorkload } from '../workloads/rdmaPinned.ts';
import type { RdmaMachine, RdmaWorkloadOptions } from '../workloads/rdmaMachine.ts';
import type { Workload } from '../workloads/workload.ts';
import type { MachineNic } from './buildNics.ts';
import type { WorkloadPlace, WorkloadSurroundings } from './buildWorkloads.ts';
import { gpuOf, peersPages } from './peerPages.ts';
import type { DmabufWorkload as DmabufLab, OdpWorkload as OdpLab, RdmaWorkload as RdmaLab } from './schema.ts';

const KIB = 2 ** 10;

export function buildRdma(
  workload: RdmaLab,
  nic: MachineNic,
  place: WorkloadPlace,
  surroundings: WorkloadSurroundings,
  random: RandomStream,
): Workload {
  const { split, layout } = workload;
  return createRdmaWorkload(machineOf(nic, place, surroundings), { ...messagesOf(workload), split, layout }, random);
}

export function buildOdp(
  workload: OdpLab,
  nic: MachineNic,
  place: WorkloadPlace,
  surroundings: WorkloadSurroundings,
  random: RandomStream,
): Workload {
  const { comparison, costs, devices } = surroundings;
  const { dma: api, device, packetBytes } = nic;
  const { implicit, prefetch, changes, changeEveryUs, contiguity } = workload;
  return createOdpWorkload(
    {
      ...machineOf(nic, place, surroundings),
      odpCosts: costs.odp,
      pageScheme: () => createPageScheme(comparison.scheme, api, device, `comparison[${comparison.id}].scheme`),
      gpu: (id) => gpuOf(devices, id).driver,
      packetBytes,
    },
    {
      ...messagesOf(workload),
      split: false,
      layout: [{ kind: 'ram', pages: (workload.regionKiB * KIB) / PAGE_SIZE, contiguity }],
      implicit,
      prefetch,
      changes,
      changeEvery: picoseconds(Math.round(changeEveryUs * PICOSECONDS_PER_MICROSECOND)),
    },
    random,
  );
}

export function buildDmabuf(
  workload: DmabufLab,
  nic: MachineNic,
  place: WorkloadPlace,
  surroundings: WorkloadSurroundings,
  random: RandomStream,
): Workload {
  const { costs, devices } = surroundings;
  const { placement, movePages, moveEveryUs, exporter } = workload;
  return createDmabufWorkload(
    {
      ...machineOf(nic, place, surroundings),
      odpCosts: costs.odp,
      packetBytes: nic.packetBytes,
      gpu: gpuOf(devices, exporter).driver,
    },
    {
      ...messagesOf(workload),
      split: false,
      layout: [{ kind: 'ram', pages: 1, contiguity: 'scattered' }],
      placement,
      movePages,
      moveEvery: picoseconds(Math.round(moveEveryUs * PICOSECONDS_PER_MICROSECOND)),
    },
    random,
  );
}

function machineOf(
  { nic, farHost, dma: api, device, host, metrics }: MachineNic,
  { frames, cpus }: WorkloadPlace,
  { devices, events, work, pageKinds, metrics: { counters, log }, costs, comparison }: WorkloadSurroundings,
): RdmaMachine {
  return {
    nic,
    farHost,
    api,
    device,
    memory: host.cpuMemory,
    events,
    frames,
    pageKinds,
    work,
    cpus,
    costs: costs.rdma,
    scheme: () => createScheme(comparison.scheme, api, device, api.profile, `comparison[${comparison.id}].scheme`),
    peersPages: peersPages(devices),
    metrics,
    counters,
    log,
  };
}

function messagesOf(workload: RdmaLab | OdpLab | DmabufLab): Omit<RdmaWorkloadOptions, 'split' | 'layout'> {
  const { id, operation, messageBytes, queuePairs, messages, regions, regionKiB, messagesPerRegion } = workload;
  const regionBytes = regionKiB * KIB;
  const name = `workloads[${id}]`;
  return { name, operation, messageBytes, queuePairs, messages, regions, regionBytes, messagesPerRegion };
}
