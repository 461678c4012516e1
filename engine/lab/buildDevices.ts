/**
 * The devices of a lab as the kernel knows them: each at its port, attached to a domain, with its driver. The devices of one IOMMU
 * group share a domain; those behind one IOMMU share its tables.
 */
import { createDmaDevice, dmaBitMask, type DmaDevice } from '../dma/device.ts';
import type { DmaApi } from '../dma/dmaApi.ts';
import type { DmaApiOptions } from '../dma/dmaApiOptions.ts';
import type { DmaTrace } from '../dma/trace.ts';
import type { CpuWork } from '../drivers/cpuWork.ts';
import type { NvmeCosts } from '../drivers/nvmeCosts.ts';
import type { DeviceTlb } from '../iommu/ats/deviceTlb.ts';
import type { Iommu } from '../iommu/iommu.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { DmaPort } from '../pcie/dmaPort.ts';
import type { FabricCosts } from '../pcie/fabric.ts';
import type { EventQueue } from '../time/eventQueue.ts';
import type { LabChecker } from './apiChecker.ts';
import { buildDrives, type MachineDrive } from './buildDrives.ts';
import { buildGpu, type MachineGpu } from './buildGpus.ts';
import type { Host } from './buildHosts.ts';
import { buildNic, type MachineNic } from './buildNics.ts';
import type { DeviceSlot, Topology } from './buildTopology.ts';
import { DeviceMetrics } from './deviceMetrics.ts';
import type { PeerWindows } from './peerWindows.ts';
import type { Comparison } from './schema.ts';

/** A device of the machine, or one of its virtual functions. */
export interface AttachedDevice {
  /** Of its part, or `nvme0.vf1`. */
  readonly id: string;
  readonly port: DmaPort;
  /** As the DMA API knows it. */
  readonly device: DmaDevice;
  readonly dma: DmaApi;
  /** The one that translates for it; null: none does. */
  readonly iommu: Iommu | null;
  readonly group: number;
  readonly host: Host;
  readonly metrics: DeviceMetrics;
  readonly deviceTlb: DeviceTlb | null;
}

export type MachineDevice = MachineDrive | MachineNic | MachineGpu;

export interface DeviceSurroundings {
  readonly comparison: Comparison;
  readonly checking: LabChecker;
  readonly metrics: Metrics;
  readonly events: EventQueue;
  readonly work: CpuWork;
  readonly costs: { readonly nvme: NvmeCosts; readonly fabric: FabricCosts };
  /** What is the same for all DMA APIs of the machine. */
  readonly dma: Omit<DmaApiOptions, 'frames' | 'iommu' | 'domains' | 'cachingMode' | 'trace'>;
  /** Called once for each IOVA space, with the devices that share it. */
  readonly listen: ((devices: readonly string[]) => DmaTrace) | null;
}

/** In the order of their PCI addresses. */
export function buildDevices(
  { slots, tree }: Topology,
  windows: PeerWindows | null,
  surroundings: DeviceSurroundings,
): readonly MachineDevice[] {
  const devices: MachineDevice[] = [];
  const drives = buildDrives(surroundings);
  for (const slot of slots) {
    const sharing = slots.filter((other) => other.group === slot.group).map((other) => other.id);
    const member = devices.find((other) => other.group === slot.group) ?? null;
    const attached = attach(slot, member, sharing, windows, surroundings);
    if (slot.part.kind === 'nvme') devices.push(drives(attached, slot.part));
    else if (slot.part.kind === 'nic') devices.push(buildNic(attached, slot.part, surroundings));
    else devices.push(buildGpu(attached, slot, tree, surroundings));
  }
  return devices;
}

function attach(
  { id, part, host, port, group, node, deviceTlb }: DeviceSlot,
  member: AttachedDevice | null,
  sharing: readonly string[],
  windows: PeerWindows | null,
  { comparison, checking, metrics, dma: shared, listen }: DeviceSurroundings,
): AttachedDevice {
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
  const mask = dmaBitMask(part.kind === 'gpu' ? 64 : (part.dmaMaskBits ?? 64));
  const device = createDmaDevice({
    name: node.name,
    sourceId: port.sourceId,
    dmaMask: mask,
    coherentDmaMask: mask,
    untrusted: part.kind !== 'gpu' && (part.untrusted ?? false),
    ats: deviceTlb !== null,
    // what the bridges pass down no IOVA may lie in (iova_reserve_pci_windows)
    ...(windows === null ? {} : { reservedRegions: windows.reserved }),
  });
  dma.attach(device, host.iommu === null ? 'none' : comparison.domain, member?.device ?? null);
  const own = new DeviceMetrics(metrics);
  return { id, port, device, dma, iommu: host.iommu, group, host, metrics: own, deviceTlb };
}
