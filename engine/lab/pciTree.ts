/**
 * The ports and devices of a lab as a tree of PCI functions, with the address and the IOMMU group that Linux gives each: for the
 * machine, and for whoever shows the lab.
 */
import { iommuGroups } from '../pcie/iommuGroups.ts';
import { SrIovCapability } from '../pcie/virtualFunctions.ts';
import { PortTree, type HostBridge, type PortNode } from '../pcie/portTree.ts';
import { acsBits } from './accessControl.ts';
import { functionsOf, virtualFunctionsOf } from './deviceFunctions.ts';
import { enumerate, type PlacedDevice, type PlacedPort, type PlacedSocket, type PlacedSwitch } from './enumeration.ts';
import type { Part, PartOf } from './schema.ts';

/** Virtual functions follow their physical one on its bus, which the ports above reach by function numbers of eight bits. */
const NEXT_TO_EACH_OTHER = { firstVfOffset: 1, vfStride: 1, ariCapableHierarchy: true };

/** PCI ids of host bridges that stand for those that Linux names (drivers/pci/p2pdma.c `pci_p2pdma_whitelist`). */
const IDENTITIES = {
  intel_skylake: { vendorId: 0x8086, deviceId: 0x2020 },
  intel_xeon_v3: { vendorId: 0x8086, deviceId: 0x2f00 },
} as const;

export interface PciTree {
  readonly tree: PortTree;
  /** In the order of the sockets. */
  readonly bridges: readonly HostBridge[];
  readonly nodeOf: (placed: PlacedPort | PlacedSwitch) => PortNode;
  /** The functions of a device, the physical one first (deviceFunctions.ts). */
  readonly functionNodes: (placed: PlacedDevice) => readonly PortNode[];
  /** The same number, the same IOMMU group. */
  readonly groupOf: (node: PortNode) => number;
}

export function pciTree(sockets: readonly PlacedSocket[]): PciTree {
  const tree = new PortTree();
  const place = ({ below }: PlacedPort, above: PortNode): void => {
    if (below === null) return;
    if (!('ports' in below)) {
      const physicalFunction = tree.addBelow(above, 'endpoint', below.sourceId);
      const totalVfs = virtualFunctionsOf(below.part);
      if (totalVfs > 0)
        new SrIovCapability({ ...NEXT_TO_EACH_OTHER, tree, physicalFunction, totalVfs }).enable(totalVfs);
      return;
    }
    const upstream = tree.addBelow(above, 'switch_upstream', below.sourceId);
    for (const port of below.ports) {
      place(port, tree.addBelow(upstream, 'switch_downstream', port.sourceId, acsBits(below.part.acs)));
    }
  };
  const bridges = sockets.map(hostBridgeOf);
  for (const [socket, { rootPorts }] of sockets.entries()) {
    const hostBridge = bridges[socket]!;
    for (const rootPort of rootPorts) {
      place(rootPort, tree.addToRoot(hostBridge, 'root_port', rootPort.sourceId, acsBits(rootPort.part.acs)));
    }
  }
  const groups = iommuGroups(tree.functions);
  return {
    tree,
    bridges,
    nodeOf: ({ sourceId }) => tree.find(sourceId)!,
    functionNodes: ({ part, sourceId }) => functionsOf(part).map(({ number }) => tree.find(sourceId + number)!),
    groupOf: (node) => groups.get(node)!,
  };
}

function hostBridgeOf({ part, rootBus }: PlacedSocket): HostBridge {
  const name = `pci0000:${rootBus.toString(16).padStart(2, '0')}`;
  const { hostBridge = 'unknown' }: PartOf<'socket'> = part;
  const identity = hostBridge === 'intel_skylake' || hostBridge === 'intel_xeon_v3' ? IDENTITIES[hostBridge] : null;
  return { name, identity };
}

export interface PciPlace {
  /** `0000:3b:00.0`; of a switch, that of its upstream port. */
  readonly address: string;
  /** Null where no IOMMU is above. */
  readonly iommuGroup: number | null;
}

/** By the id of the part or virtual function, of root ports, switches and devices. The parts make a machine (topologyCheck.ts). */
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
