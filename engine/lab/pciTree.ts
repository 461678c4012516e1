/**
 * The ports and drives of a lab as a tree of PCI functions, with the address and the IOMMU group that Linux gives each: for the
 * machine, and for whoever shows the lab.
 */
import { iommuGroups } from '../pcie/iommuGroups.ts';
import { SrIovCapability } from '../pcie/virtualFunctions.ts';
import { PortTree, type HostBridge, type PortNode } from '../pcie/portTree.ts';
import { acsBits } from './accessControl.ts';
import { functionsOf } from './driveFunctions.ts';
import { enumerate, type PlacedDrive, type PlacedPort, type PlacedSocket, type PlacedSwitch } from './enumeration.ts';
import type { Part } from './schema.ts';

/** Virtual functions follow their physical one on its bus, which the ports above reach by function numbers of eight bits. */
const NEXT_TO_EACH_OTHER = { firstVfOffset: 1, vfStride: 1, ariCapableHierarchy: true };

export interface PciTree {
  readonly nodeOf: (placed: PlacedPort | PlacedSwitch) => PortNode;
  /** The functions of a drive, the physical one first (driveFunctions.ts). */
  readonly functionNodes: (placed: PlacedDrive) => readonly PortNode[];
  /** The same number, the same IOMMU group. */
  readonly groupOf: (node: PortNode) => number;
}

export function pciTree(sockets: readonly PlacedSocket[]): PciTree {
  const tree = new PortTree();
  const place = ({ below }: PlacedPort, above: PortNode): void => {
    if (below === null) return;
    if (!('ports' in below)) {
      const physicalFunction = tree.addBelow(above, 'endpoint', below.sourceId);
      const totalVfs = below.part.virtualFunctions ?? 0;
      if (totalVfs > 0)
        new SrIovCapability({ ...NEXT_TO_EACH_OTHER, tree, physicalFunction, totalVfs }).enable(totalVfs);
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
    nodeOf: ({ sourceId }) => tree.find(sourceId)!,
    functionNodes: ({ part, sourceId }) => functionsOf(part).map(({ number }) => tree.find(sourceId + number)!),
    groupOf: (node) => groups.get(node)!,
  };
}

export interface PciPlace {
  /** `0000:3b:00.0`; of a switch, that of its upstream port. */
  readonly address: string;
  /** Null where no IOMMU is above. */
  readonly iommuGroup: number | null;
}

/** By the id of the part or virtual function, of root ports, switches and drives. The parts make a machine (topologyCheck.ts). */
export function pciPlaces(parts: readonly Part[]): ReadonlyMap<string, PciPlace> {
  const sockets = enumerate(parts);
  const { nodeOf, functionNodes, groupOf } = pciTree(sockets);
  const places = new Map<string, PciPlace>();
  for (const socket of sockets) {
    const translated = parts.some((part) => part.kind === 'iommu' && part.parent === socket.part.id);
    const note = (id: string, node: PortNode): void => {
      places.set(id, { address: node.name, iommuGroup: translated ? groupOf(node) : null });
    };
    const visit = ({ below }: PlacedPort): void => {
      if (below === null) return;
      if ('ports' in below) {
        note(below.part.id, nodeOf(below));
        below.ports.forEach(visit);
        return;
      }
      const nodes = functionNodes(below);
      functionsOf(below.part).forEach(({ id }, index) => {
        note(id, nodes[index]!);
      });
    };
    for (const rootPort of socket.rootPorts) {
      note(rootPort.part.id, nodeOf(rootPort));
      visit(rootPort);
    }
  }
  return places;
}
