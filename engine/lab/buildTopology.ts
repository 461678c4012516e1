/**
 * The PCIe side of a lab's machine: host bridges, ports with their access control, links, and the DMA side of every drive, each
 * behind the IOMMU of its socket. A link does what both of its ends can; maximum payload and read request are those of the root
 * port, as Linux sets one value for a whole hierarchy (drivers/pci/probe.c `pcie_bus_configure_settings`).
 */
import type { DmaPort } from '../pcie/dmaPort.ts';
import { Fabric, type FabricOptions } from '../pcie/fabric.ts';
import { iommuGroups } from '../pcie/iommuGroups.ts';
import type { LinkOptions } from '../pcie/link.ts';
import { PortTree, type HostBridge, type PortNode } from '../pcie/portTree.ts';
import type { Translator } from '../pcie/translator.ts';
import { nanoseconds } from '../time/picoseconds.ts';
import { acsBits } from './accessControl.ts';
import type { Host } from './buildHosts.ts';
import type { PlacedPort } from './enumeration.ts';
import type { PartOf } from './schema.ts';

export interface DriveSlot {
  readonly part: PartOf<'nvme'>;
  readonly host: Host;
  readonly node: PortNode;
  readonly port: DmaPort;
  /** The same number, the same IOMMU group. */
  readonly group: number;
}

/** `translators`: what the fabric asks, socket by socket. The drives come in the order of their addresses. */
export function buildTopology(
  hosts: readonly Host[],
  translators: readonly (Translator | null)[],
  options: Omit<FabricOptions, 'translator'>,
): readonly DriveSlot[] {
  const tree = new PortTree();
  const found: Omit<DriveSlot, 'group'>[] = [];
  for (const host of hosts) {
    const fabric = new Fabric({ ...options, translator: translators[host.node] ?? null });
    const { rootBus, rootPorts } = host.placed;
    const hostBridge: HostBridge = { name: `pci0000:${rootBus.toString(16).padStart(2, '0')}`, identity: null };
    const place = (placed: PlacedPort, above: PortNode, link: LinkOptions): void => {
      const { below } = placed;
      if (below === null) return;
      const { sourceId } = below;
      if (!('ports' in below)) {
        const node = tree.addBelow(above, 'endpoint', sourceId);
        found.push({ part: below.part, host, node, port: fabric.addRootPort(link).addFunction(sourceId) });
        return;
      }
      const { part } = below;
      const upstream = tree.addBelow(above, 'switch_upstream', sourceId);
      for (const port of below.ports) {
        const node = tree.addBelow(upstream, 'switch_downstream', port.sourceId, acsBits(part.acs));
        place(port, node, linkBelow(part, port, link));
      }
    };
    for (const rootPort of rootPorts) {
      const { part, sourceId } = rootPort;
      const node = tree.addToRoot(hostBridge, 'root_port', sourceId, acsBits(part.acs));
      const { generation, lanes, maxPayloadSize, maxReadRequestSize, propagationNs } = part;
      const link = { generation, lanes, maxPayloadSize, maxReadRequestSize, propagation: nanoseconds(propagationNs) };
      place(rootPort, node, narrowed(link, rootPort));
    }
  }
  const groups = iommuGroups(tree.functions);
  return found.map((slot) => ({ ...slot, group: groups.get(slot.node)! }));
}

/** The link below a port of a switch. */
function linkBelow(part: PartOf<'switch'>, port: PlacedPort, above: LinkOptions): LinkOptions {
  const propagation = nanoseconds(part.propagationNs);
  return narrowed({ ...above, generation: part.portGeneration, lanes: part.portLanes, propagation }, port);
}

/** A drive takes the link as it is. */
function narrowed(link: LinkOptions, { below }: PlacedPort): LinkOptions {
  if (below === null || !('ports' in below)) return link;
  const { generation, lanes } = below.part;
  return { ...link, generation: Math.min(link.generation, generation), lanes: Math.min(link.lanes, lanes) };
}
