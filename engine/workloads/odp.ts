/**
 * Messages of another host into and out of memory that is used on demand (rdma.ts), while the memory moves (memoryChanges.ts): nothing is
 * pinned, the adapter faults, the driver fetches pages and takes them away again (Linux drivers/infiniband/hw/mlx5/odp.c). Every message is
 * compared to the byte, whatever happened to its pages meanwhile.
 */
import { ProcessPages } from '../drivers/gpu/processPages.ts';
import type { GpuDriver } from '../drivers/gpu/gpuDriver.ts';
import { NicOdpAdapter, type NicOdpAdapterOptions } from '../drivers/rdma/nicOdpAdapter.ts';
import { OdpDriver } from '../drivers/rdma/odpDriver.ts';
import type { OdpCosts } from '../drivers/rdma/odpPopulate.ts';
import type { AddressSpace } from '../memory/addressSpace.ts';
import type { PageScheme } from '../schemes/pageScheme.ts';
import type { Cpu } from '../time/cpu.ts';
import type { Picoseconds } from '../time/picoseconds.ts';
import type { RandomStream } from '../time/random.ts';
import { MemoryChanges, type MemoryChange } from './memoryChanges.ts';
import { MeteredPages } from './meteredPages.ts';
import { OdpRegions } from './odpRegions.ts';
import { ProcessBuffers } from './processBuffers.ts';
import { RdmaWorkload } from './rdma.ts';
import { PROTECTION_DOMAIN, type RdmaMachine, type RdmaWorkloadOptions } from './rdmaMachine.ts';

/** What the CPU spends, and what one update of the adapter's table takes, and each entry of it. */
export interface OdpWorkloadCosts extends OdpCosts {
  readonly tableUpdate: Picoseconds;
  readonly tableUpdatePerEntry: Picoseconds;
}

export interface OdpMachine extends RdmaMachine {
  readonly odpCosts: OdpWorkloadCosts;
  /** A page-indexed scheme for one region. */
  readonly pageScheme: () => PageScheme;
  readonly gpu: (id: string) => GpuDriver;
  /** Payload of one packet of the adapter. */
  readonly packetBytes: number;
}

export interface OdpWorkloadOptions extends RdmaWorkloadOptions {
  readonly implicit: boolean;
  readonly prefetch: boolean;
  readonly changes: readonly MemoryChange[];
  readonly changeEvery: Picoseconds;
}

export function createOdpWorkload(
  machine: OdpMachine,
  options: OdpWorkloadOptions,
  random: RandomStream,
): RdmaWorkload {
  const { events, counters } = machine;
  const cpus = machine.cpus ?? machine.work.cpus;
  const memory = new ProcessBuffers(machine, options, random.fork('buffers'));
  const mm = memory.process;
  const places = new Map<string, ProcessPages>();
  const peerPages = (peer: string): ProcessPages => {
    const place = places.get(peer) ?? new ProcessPages(machine.gpu(peer), mm);
    places.set(peer, place);
    return place;
  };
  const { changes, changeEvery } = options;
  return new RdmaWorkload(machine, options, {
    memory,
    registrar: onDemand(machine, options, mm, cpus[0]!),
    changes: new MemoryChanges(
      // another CPU than the driver's, where there is one
      { mm, events, cpu: cpus[1] ?? cpus[0]!, peerPages, counters, changes, every: changeEvery },
      random.fork('memory changes'),
    ),
  });
}

/** What an adapter whose keys are on demand needs of the machine. */
export function adapterOptions({
  nic,
  api,
  device,
  memory,
  events,
  odpCosts,
  counters,
  packetBytes,
}: Omit<OdpMachine, 'gpu' | 'pageScheme'>): Omit<NicOdpAdapterOptions, 'cpu' | 'pd'> {
  return { nic, api, device, memory, events, packetBytes, counters, costs: odpCosts };
}

function onDemand(
  machine: OdpMachine,
  { operation, implicit, prefetch }: OdpWorkloadOptions,
  mm: AddressSpace,
  cpu: Cpu,
): OdpRegions {
  const { api, device, events, odpCosts, pageScheme, metrics, counters } = machine;
  const adapter = new NicOdpAdapter({ ...adapterOptions(machine), cpu, pd: PROTECTION_DOMAIN });
  const driver = new OdpDriver({
    api,
    device,
    adapter,
    events,
    cpu,
    costs: odpCosts,
    pageScheme: () => new MeteredPages(pageScheme(), metrics, counters),
  });
  return new OdpRegions({ driver, adapter, mm, writable: operation === 'write', implicit, prefetch, counters });
}
