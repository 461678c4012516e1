/** Regions that are pinned and mapped when they are registered, as verbs have had from the beginning. */
import { MemoryRegions } from '../drivers/rdma/memoryRegions.ts';
import { MrCache } from '../drivers/rdma/mrCache.ts';
import { NicRegionAdapter } from '../drivers/rdma/nicRegionAdapter.ts';
import { IB_ACCESS_LOCAL_WRITE, IB_ACCESS_REMOTE_READ, IB_ACCESS_REMOTE_WRITE } from '../drivers/rdma/umem.ts';
import type { AddressSpace } from '../memory/addressSpace.ts';
import type { Cpu } from '../time/cpu.ts';
import type { RandomStream } from '../time/random.ts';
import { ProcessBuffers } from './processBuffers.ts';
import { RdmaWorkload } from './rdma.ts';
import { checkOptions, PROTECTION_DOMAIN, type RdmaMachine, type RdmaWorkloadOptions } from './rdmaMachine.ts';
import { RdmaRegions } from './rdmaRegions.ts';

/** Keys of one size that the driver keeps (mlx5 keeps up to 500 of the small sizes). */
const KEYS_KEPT = 500;

/** Memory of a process that is pinned when it is registered. */
export function createRdmaWorkload(
  machine: RdmaMachine,
  options: RdmaWorkloadOptions,
  random: RandomStream,
): RdmaWorkload {
  checkOptions(options);
  const cpu = (machine.cpus ?? machine.work.cpus)[0]!;
  const adapter = pinningAdapter(machine, cpu);
  const memory = new ProcessBuffers(machine, options, random.fork('buffers'));
  const registrar = pinnedRegions(machine, options, memory.process, adapter);
  return new RdmaWorkload(machine, options, { memory, registrar, changes: null });
}

function pinningAdapter({ nic, api, device, memory, events }: RdmaMachine, cpu: Cpu): NicRegionAdapter {
  return new NicRegionAdapter(cpu, { nic, api, device, memory, events, pd: PROTECTION_DOMAIN });
}

function pinnedRegions(
  { costs, scheme, metrics, counters }: RdmaMachine,
  { operation, layout, split }: RdmaWorkloadOptions,
  process: AddressSpace,
  adapter: NicRegionAdapter,
): RdmaRegions {
  const cache = new MrCache(adapter, costs, KEYS_KEPT);
  return new RdmaRegions({
    regions: new MemoryRegions({ adapter, cache, costs }),
    cache,
    adapter,
    mm: process,
    scheme,
    access: operation === 'write' ? IB_ACCESS_LOCAL_WRITE | IB_ACCESS_REMOTE_WRITE : IB_ACCESS_REMOTE_READ,
    peersPages: layout.some(({ kind }) => kind === 'peer'),
    split,
    metrics,
    counters,
  });
}
