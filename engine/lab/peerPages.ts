/** The memory of a machine's peers as processes get it mapped: page after page, and where there is no more, a word to the user. */
import { LabError } from '../time/labError.ts';
import type { BlockAllocator } from '../drivers/gpu/blockAllocator.ts';
import type { PeersPages } from '../workloads/rdmaBuffers.ts';
import type { MachineDevice } from './buildDevices.ts';
import type { MachineGpu } from './buildGpus.ts';

export function gpuOf(devices: readonly MachineDevice[], id: string): MachineGpu {
  const gpu = devices.find((device) => device.id === id);
  if (gpu?.kind !== 'gpu') throw new Error(`the machine has no GPU "${id}"`);
  return gpu;
}

export function peersPages(devices: readonly MachineDevice[]): PeersPages {
  const blocksOf = (peer: string): BlockAllocator => gpuOf(devices, peer).driver.blocks;
  return {
    take: (peer) => {
      const blocks = blocksOf(peer);
      if (blocks.freePages > 0) return blocks.allocatePage();
      const remedy = 'Use more, or less of it in the layouts of workloads.';
      throw new LabError(`topology.parts[${peer}].memoryMiB`, 'the workloads want more of its memory.', remedy);
    },
    giveBack: (peer, page) => {
      blocksOf(peer).freePage(page);
    },
  };
}
