/** For tests: random fabrics of root ports, switches in switches, and devices of one or several functions, with random access control. */
import type { RandomStream } from '../time/random.ts';
import { PortTree, type HostBridge, type PortNode } from './portTree.ts';

const HOSTS: readonly HostBridge[] = [
  { name: 'host0', identity: null },
  { name: 'host1', identity: { vendorId: 0x8086, deviceId: 0x2020 } },
];
const DEEPEST = 3;

export interface RandomFabric {
  readonly tree: PortTree;
  readonly endpoints: readonly PortNode[];
}

export function randomFabric(random: RandomStream): RandomFabric {
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
  const device = (port: PortNode, bus: number): void => {
    const functions = random.below(3) === 0 ? 1 + random.below(3) : 1;
    for (let index = 0; index < functions; index += 1) {
      endpoints.push(chosen(tree.addBelow(port, 'endpoint', (bus << 8) | index, acs())));
    }
  };
  const populate = (port: PortNode, depth: number): void => {
    const bus = nextBus;
    nextBus += 1;
    if (depth === DEEPEST || random.below(2) === 0) {
      device(port, bus);
      return;
    }
    const inner = tree.addBelow(port, 'switch_upstream', bus << 8, acs());
    const downBus = nextBus;
    nextBus += 1;
    const ports = 1 + random.below(3);
    for (let index = 0; index < ports; index += 1) {
      const down = tree.addBelow(inner, 'switch_downstream', (downBus << 8) | (index << 3), acs());
      populate(chosen(down), depth + 1);
    }
  };
  const rootPorts = 1 + random.below(3);
  for (let index = 0; index < rootPorts; index += 1) {
    const port = tree.addToRoot(HOSTS[random.below(2)]!, 'root_port', index << 3, acs());
    populate(port, 0);
  }
  return { tree, endpoints };
}
