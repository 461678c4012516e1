/**
 * The ports and drives of a lab as a tree of PCI functions, with the address and the IOMMU group that Linux gives each: for the
 * machine, and for whoever shows the lab.
 */
import { iommuGroups } from '../pcie/iommuGroups.ts';
import { PortTree, type HostBridge, type PortNode } from '../pcie/portTree.ts';
import { acsBits } from './accessControl.ts';
import { enumerate, type PlacedDrive, type PlacedPort, type PlacedSocket, type PlacedSwitch } from './enumeration.ts';
import type { Part } from './schema.ts';

export interface PciTree {
  readonly tree: PortTree;
  readonly nodeOf: (placed: PlacedPort | PlacedSwitch | PlacedDrive) => PortNode;
  /** The same number, the same IOMMU group. */
  readonly groupOf: (node: PortNode) => number;
}

export function pciTree(sockets: readonly PlacedSocket[]): PciTree {
  const tree = new PortTree();
  const place = ({ below }: PlacedPort, above: PortNode): void => {
    if (below === null) return;
    if (!('ports' in below)) {
      tree.addBelow(above, 'endpoint', below.sourceId);
      return;
    }
    const upstream = tree.addBelow(above, 'switch_upstream', below.sourceId);
    for (const port of below.ports) {
      place(port, tree.addBelow(upstream, 'switch_downstream', port.sourceId, acsBits(below.part.acs)));
    }
  };
  for (const { rootBus, rootPorts } of sockets) {
    const hostBridge: HostBridge = { name: `pci0000:${rootBus.toString(16).padStart(2, '0')}`, identity: null };
    for (const rootPort of rootPorts) {
      place(rootPort, tree.addToRoot(hostBridge, 'root_port', rootPort.sourceId, acsBits(rootPort.part.acs)));
    }
  }
  const groups = iommuGroups(tree.functions);
  return {
    tree,
    nodeOf: ({ sourceId }) => tree.find(sourceId)!,
    groupOf: (node) => groups.get(node)!,
  };
}

export interface PciPlace {
  /** `0000:3b:00.0`; of a switch, that of its upstream port. */
  readonly address: string;
  /** Null where no IOMMU is above. */
  readonly iommuGroup: number | null;
}

/** By the id of the part, of root ports, switches and drives. The parts make a machine (topologyCheck.ts). */
export function pciPlaces(parts: readonly Part[]): ReadonlyMap<string, PciPlace> {
  const sockets = enumerate(parts);
  const { nodeOf, groupOf } = pciTree(sockets);
  const places = new Map<string, PciPlace>();
  for (const socket of sockets) {
    const translated = parts.some((part) => part.kind === 'iommu' && part.parent === socket.part.id);
    const note = (id: string, placed: PlacedPort | PlacedSwitch | PlacedDrive): void => {
      const node = nodeOf(placed);
      places.set(id, { address: node.name, iommuGroup: translated ? groupOf(node) : null });
    };
    const visit = ({ below }: PlacedPort): void => {
      if (below === null) return;
      note(below.part.id, below);
      if ('ports' in below) below.ports.forEach(visit);
    };
    for (const rootPort of socket.rootPorts) {
      note(rootPort.part.id, rootPort);
      visit(rootPort);
    }
  }
  return places;
}
