/**
 * For tests: random fabrics of root ports, switches in switches, and devices of one or several functions, with random access control;
 * where asked for, virtual functions with and without ARI, and devices whose functions are ports as well as endpoints.
 */
import type { RandomStream } from '../time/random.ts';
import { ACS_EGRESS_CONTROL, PortTree, type HostBridge, type PortNode } from './portTree.ts';
import { SrIovCapability } from './virtualFunctions.ts';

const HOSTS: readonly HostBridge[] = [
  { name: 'host0', identity: null },
  { name: 'host1', identity: { vendorId: 0x8086, deviceId: 0x2020 } },
];
const DEEPEST = 3;

export interface RandomFabric {
  readonly tree: PortTree;
  readonly endpoints: readonly PortNode[];
  /** A number for each device, by its functions; virtual ones have that of theirs. */
  readonly devices: ReadonlyMap<PortNode, number>;
}

interface RandomKinds {
  readonly virtualFunctions?: boolean;
  /** Ports of several functions, and endpoints beside the upstream port of a switch. */
  readonly mixedDevices?: boolean;
}

export function randomFabric(random: RandomStream, kinds: RandomKinds = {}): RandomFabric {
  const { virtualFunctions = false, mixedDevices = false } = kinds;
  const devices = new Map<PortNode, number>();
  let nextDevice = 0;
  const tree = new PortTree();
  const endpoints: PortNode[] = [];
  let nextBus = 1;
  // half of the fabrics know no access control at all, or all of it
  const style = random.below(4);
  const acs = (): number => (style === 0 ? 0 : style === 1 ? 0b1_1101 : random.below(0x80));
  const chosen = (node: PortNode): PortNode => {
    node.egressVector = random.below(2) === 0 ? 0 : random.below(2 ** 32);
    return node;
  };
  const newDevice = (): number => {
    nextDevice += 1;
    return nextDevice;
  };
  const inDevice = (node: PortNode, number: number): PortNode => {
    devices.set(node, number);
    return node;
  };
  const addVirtual = (physicalFunction: PortNode, functions: number, ariCapableHierarchy: boolean): void => {
    const further = random.below(3) === 0;
    const room = ariCapableHierarchy ? 20 : 8 - functions;
    const totalVfs = 1 + random.below(further ? 12 : room);
    const firstVfOffset = (further ? 0x100 : 0) + functions - (physicalFunction.sourceId & 7);
    // the egress control of a device with ARI has vectors of its own kind
    physicalFunction.acs &= ~ACS_EGRESS_CONTROL;
    const vfs = new SrIovCapability({
      tree,
      physicalFunction,
      totalVfs,
      firstVfOffset,
      vfStride: 1,
      ariCapableHierarchy,
      lastBus: (physicalFunction.sourceId >>> 8) + 1,
    });
    for (const one of vfs.enable(totalVfs, acs() & ~ACS_EGRESS_CONTROL))
      endpoints.push(inDevice(one, devices.get(physicalFunction)!));
  };
  const device = (port: PortNode, bus: number): void => {
    const functions = random.below(3) === 0 ? 1 + random.below(3) : 1;
    const made: PortNode[] = [];
    const number = newDevice();
    for (let index = 0; index < functions; index += 1) {
      made.push(inDevice(chosen(tree.addBelow(port, 'endpoint', (bus << 8) | index, acs())), number));
    }
    endpoints.push(...made);
    if (!virtualFunctions) return;
    nextBus += 1;
    if (random.below(2) === 0) addVirtual(made[random.below(functions)]!, functions, random.below(2) === 0);
  };
  const populate = (port: PortNode, depth: number): void => {
    const bus = nextBus;
    nextBus += 1;
    if (depth === DEEPEST || random.below(2) === 0) {
      device(port, bus);
      return;
    }
    const upper = newDevice();
    const inner = inDevice(tree.addBelow(port, 'switch_upstream', bus << 8, acs()), upper);
    if (mixedDevices && random.below(2) === 0) {
      endpoints.push(inDevice(tree.addBelow(port, 'endpoint', (bus << 8) | 1, acs()), upper));
    }
    const downBus = nextBus;
    nextBus += 1;
    const ports = 1 + random.below(3);
    const several = mixedDevices && random.below(2) === 0;
    const slot = newDevice();
    for (let index = 0; index < ports; index += 1) {
      const place = several ? index : index << 3;
      const down = tree.addBelow(inner, 'switch_downstream', (downBus << 8) | place, acs());
      populate(chosen(inDevice(down, several ? slot : newDevice())), depth + 1);
    }
  };
  const rootPorts = 1 + random.below(3);
  for (let index = 0; index < rootPorts; index += 1) {
    const port = tree.addToRoot(HOSTS[random.below(2)]!, 'root_port', index << 3, acs());
    populate(inDevice(port, newDevice()), 0);
  }
  return { tree, endpoints, devices };
}
