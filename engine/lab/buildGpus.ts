/** The GPUs of a lab: memory behind a base address register, known to the kernel as that of a provider of peers' pages, and its driver. */
import { Gpu } from '../devices/gpu/gpu.ts';
import { GpuDriver } from '../drivers/gpu/gpuDriver.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import type { PortTree } from '../pcie/portTree.ts';
import type { AttachedDevice, DeviceSurroundings } from './buildDevices.ts';
import type { DeviceSlot } from './buildTopology.ts';

export interface MachineGpu extends AttachedDevice {
  readonly kind: 'gpu';
  readonly driver: GpuDriver;
}

export function buildGpu(
  attached: AttachedDevice,
  { part, node, memoryAt }: DeviceSlot,
  tree: PortTree,
  { dma: { memory, pageKinds }, events, metrics }: DeviceSurroundings,
): MachineGpu {
  if (part.kind !== 'gpu' || memoryAt === null || pageKinds === null || pageKinds === undefined)
    throw new Error(`"${part.id}" is no GPU whose memory has a place`);
  const { device, dma, host, port } = attached;
  const pages = (part.memoryMiB * 2 ** 20) / PAGE_SIZE;
  const gpu = new Gpu({ port, events, memory }, { node, firstPage: memoryAt / PAGE_SIZE, pages });
  const { log } = metrics;
  const kernel = { api: dma, memory: host.cpuMemory, frames: host.frames, tree, kinds: pageKinds, log };
  return { ...attached, kind: 'gpu', driver: new GpuDriver(gpu, device, kernel) };
}
