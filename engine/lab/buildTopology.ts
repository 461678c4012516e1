/**
 * The PCIe side of a lab's machine: a fabric for each host bridge, links, switches, and the DMA side of every device, behind the
 * IOMMU of its socket; and where the memory of peers lies. A link does what both of its ends can; maximum payload and read request are those of the root port, as Linux
 * sets one value for a whole hierarchy (drivers/pci/probe.c `pcie_bus_configure_settings`).
 */
import { addGpuBar } from '../devices/gpu/gpu.ts';
import type { DeviceTlb } from '../iommu/ats/deviceTlb.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import type { MemorySystem } from '../memory/memorySystem.ts';
import { AddressWindows } from '../pcie/addressWindows.ts';
import type { DmaPort } from '../pcie/dmaPort.ts';
import { Fabric, type FabricOptions, type FabricPort } from '../pcie/fabric.ts';
import type { LinkOptions } from '../pcie/link.ts';
import { PeerRoute } from '../pcie/peerRoute.ts';
import type { PortNode, PortTree } from '../pcie/portTree.ts';
import type { Translator } from '../pcie/translator.ts';
import type { SwitchOptions } from '../pcie/way.ts';
import { nanoseconds } from '../time/picoseconds.ts';
import { buildDeviceTlb } from './buildDeviceTlb.ts';
import type { Host } from './buildHosts.ts';
import { functionsOf } from './deviceFunctions.ts';
import type { PlacedPort } from './enumeration.ts';
import { pciTree, type PciTree } from './pciTree.ts';
import type { PeerWindows } from './peerWindows.ts';
import type { DevicePart, PartOf } from './schema.ts';

const MIB = 2 ** 20;

/** A function of a device. */
export interface DeviceSlot {
  readonly id: string;
  readonly part: DevicePart;
  readonly host: Host;
  readonly node: PortNode;
  readonly port: DmaPort;
  /** Null: it asks the IOMMU for every access. */
  readonly deviceTlb: DeviceTlb | null;
  /** The same number, the same IOMMU group. */
  readonly group: number;
  /** Physical address of its memory, that of a GPU; null: it has none. */
  readonly memoryAt: number | null;
}

export interface Topology {
  /** In the order of their addresses. */
  readonly slots: readonly DeviceSlot[];
  readonly tree: PortTree;
}

/** `translators`: what the fabrics ask, socket by socket; `memorySystem`: what data takes; null: the same everywhere;
 * `deviceTlbs`: whether functions with ATS use it; `windows`: where the memory of peers lies. */
export function buildTopology(
  hosts: readonly Host[],
  translators: readonly (Translator | null)[],
  options: Omit<FabricOptions, 'translator' | 'memoryTiming'>,
  memorySystem: MemorySystem | null,
  deviceTlbs: boolean,
  windows: PeerWindows | null,
): Topology {
  const pci = pciTree(hosts.map(({ placed }) => placed));
  const { tree, nodeOf, functionNodes, groupOf } = pci;
  const slots: Omit<DeviceSlot, 'memoryAt'>[] = [];
  const place = ({ below }: PlacedPort, above: FabricPort, host: Host): void => {
    if (below === null) return;
    if (!('ports' in below)) {
      const { part } = below;
      const nodes = functionNodes(below);
      functionsOf(part).forEach(({ id }, index) => {
        const node = nodes[index]!;
        const { iommu } = host;
        const ats = part.kind === 'gpu' ? undefined : part.ats;
        const deviceTlb =
          ats === undefined || iommu === null || !deviceTlbs
            ? null
            : buildDeviceTlb(ats, node.sourceId, iommu, above.way, options.costs);
        const port = above.addFunction(node.sourceId, windows === null ? null : new PeerRoute(tree, node), deviceTlb);
        slots.push({ id, part, host, node, port, deviceTlb, group: groupOf(node) });
      });
      return;
    }
    const { part, ports } = below;
    const fabricSwitch = above.addSwitch(switchOptions(part));
    const { portGeneration, portLanes, propagationNs } = part;
    const ability = { generation: portGeneration, lanes: portLanes, propagation: nanoseconds(propagationNs) };
    for (const port of ports) {
      const link = linkTo(port, { ...above.link.options, ...ability });
      place(port, fabricSwitch.addDownstreamPort(link, nodeOf(port)), host);
    }
  };
  for (const host of hosts) {
    const translator = translators[host.node] ?? null;
    const timing = memorySystem === null ? {} : { memoryTiming: memorySystem.seenFrom(host.node) };
    const fabric = new Fabric({ ...options, translator, ...timing });
    for (const rootPort of host.placed.rootPorts) {
      const { generation, lanes, maxPayloadSize, maxReadRequestSize, propagationNs } = rootPort.part;
      const propagation = nanoseconds(propagationNs);
      const link = linkTo(rootPort, { generation, lanes, maxPayloadSize, maxReadRequestSize, propagation });
      place(rootPort, fabric.addRootPort(link, nodeOf(rootPort)), host);
    }
  }
  const addresses = windows === null ? new Map<PortNode, number>() : placePeerMemory(slots, pci, windows);
  return { slots: slots.map((slot) => ({ ...slot, memoryAt: addresses.get(slot.node) ?? null })), tree };
}

function placePeerMemory(
  slots: readonly Pick<DeviceSlot, 'node' | 'part'>[],
  { tree, bridges }: PciTree,
  { apertures }: PeerWindows,
): ReadonlyMap<PortNode, number> {
  const windows = new AddressWindows(tree);
  const bars = slots.flatMap(({ node, part }) =>
    part.kind === 'gpu' ? [{ node, bar: addGpuBar(windows, node, (part.memoryMiB * MIB) / PAGE_SIZE) }] : [],
  );
  windows.assign(new Map(bridges.map((bridge, socket) => [bridge, apertures[socket]!])));
  return new Map(bars.map(({ node, bar }) => [node, bar.register.address]));
}

function switchOptions({ latencyNs, storeAndForward = false }: PartOf<'switch'>): SwitchOptions {
  return latencyNs === undefined ? { storeAndForward } : { storeAndForward, latency: nanoseconds(latencyNs) };
}

/** What the port above can, less where the upstream port of a switch can less. */
function linkTo({ below }: PlacedPort, ability: LinkOptions): LinkOptions {
  if (below === null || !('ports' in below)) return ability;
  const { generation, lanes } = below.part;
  return { ...ability, generation: Math.min(ability.generation, generation), lanes: Math.min(ability.lanes, lanes) };
}
