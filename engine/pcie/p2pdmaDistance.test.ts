import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { P2pdmaProvider } from '../memory/pageKinds.ts';
import { P2pdmaMapState } from './p2pdma.ts';
import { calculateP2pdmaPath, P2pdmaDistances, type CpuIdentity } from './p2pdmaDistance.ts';
import {
  ACS_COMPLETION_REDIRECT,
  ACS_DIRECT_TRANSLATED,
  ACS_EGRESS_CONTROL,
  ACS_REQUEST_REDIRECT,
  ACS_SOURCE_VALIDATION,
  ACS_UPSTREAM_FORWARDING,
  PortTree,
  type HostBridge,
  type PortNode,
} from './portTree.ts';

const INTEL_SERVER: CpuIdentity = { vendor: 'intel', family: 6 };
const ZEN: CpuIdentity = { vendor: 'amd', family: 0x17 };
const UNLISTED: HostBridge = { name: 'pci0000:00', identity: { vendorId: 0x8086, deviceId: 0x29c0 } };

function bridge(vendorId: number, deviceId: number): HostBridge {
  return { name: `host ${vendorId.toString(16)}:${deviceId.toString(16)}`, identity: { vendorId, deviceId } };
}

function providerOf(node: PortNode): P2pdmaProvider {
  return { name: node.name, busOffset: 0, sourceId: node.sourceId };
}

/** A switch below one root port with two downstream ports, a NIC below one and a drive below the other. */
function switchedPair(host: HostBridge = UNLISTED) {
  const tree = new PortTree();
  const rootPort = tree.addToRoot(host, 'root_port', 0x08);
  const upstream = tree.addBelow(rootPort, 'switch_upstream', 0x100);
  const left = tree.addBelow(upstream, 'switch_downstream', 0x200);
  const right = tree.addBelow(upstream, 'switch_downstream', 0x208);
  const nic = tree.addBelow(left, 'endpoint', 0x300);
  const drive = tree.addBelow(right, 'endpoint', 0x400);
  const neighbour = tree.addBelow(right, 'endpoint', 0x401);
  return { tree, rootPort, upstream, left, right, nic, drive, neighbour };
}

/** Two root ports with one function each, of one host bridge or of two. */
function apart(first: HostBridge, second: HostBridge) {
  const tree = new PortTree();
  const provider = tree.addBelow(tree.addToRoot(first, 'root_port', 0x08), 'endpoint', 0x100);
  const client = tree.addBelow(tree.addToRoot(second, 'root_port', 0x8008), 'endpoint', 0x8100);
  return { tree, provider, client };
}

describe('the way to a peer (drivers/pci/p2pdma.c, calc_map_type_and_dist)', () => {
  test('two ports of one switch without redirection: by bus address, four hops', () => {
    const { nic, drive } = switchedPair();
    expect(calculateP2pdmaPath(drive, nic, INTEL_SERVER)).toEqual({ type: 'bus_addr', distance: 4, messages: [] });
  });

  test('neighbours below one port are two hops apart, a function is none from itself', () => {
    const { drive, neighbour } = switchedPair();
    expect(calculateP2pdmaPath(drive, neighbour, INTEL_SERVER)).toMatchObject({ type: 'bus_addr', distance: 2 });
    expect(calculateP2pdmaPath(drive, drive, INTEL_SERVER)).toMatchObject({ type: 'bus_addr', distance: 0 });
  });

  test.each([
    ['request redirect', ACS_REQUEST_REDIRECT, 'thru_host_bridge'],
    ['completion redirect', ACS_COMPLETION_REDIRECT, 'thru_host_bridge'],
    ['egress control', ACS_EGRESS_CONTROL, 'thru_host_bridge'],
    ['bits that send nothing up', ACS_SOURCE_VALIDATION | ACS_UPSTREAM_FORWARDING | ACS_DIRECT_TRANSLATED, 'bus_addr'],
  ])('%s at either port', (_, acs, type) => {
    for (const side of ['left', 'right'] as const) {
      const pair = switchedPair();
      pair[side].acs = acs;
      expect(calculateP2pdmaPath(pair.drive, pair.nic, ZEN).type).toBe(type);
    }
  });

  test('a redirect above the common port does not matter', () => {
    const { nic, drive, rootPort } = switchedPair();
    rootPort.acs = ACS_REQUEST_REDIRECT;
    expect(calculateP2pdmaPath(drive, nic, INTEL_SERVER).type).toBe('bus_addr');
  });

  test('the hint names the ports of the path, those of the provider first', () => {
    const { nic, drive, left, right } = switchedPair();
    left.acs = ACS_REQUEST_REDIRECT;
    right.acs = ACS_REQUEST_REDIRECT;
    expect(calculateP2pdmaPath(drive, nic, INTEL_SERVER)).toEqual({
      type: 'not_supported',
      distance: 4,
      messages: [
        'ACS redirect is set between the client and provider (0000:04:00.0)',
        'to disable ACS redirect for this path, add the kernel parameter: pci=disable_acs_redir=0000:02:01.0;0000:02:00.0',
        'Host bridge pci0000:00 not in P2PDMA whitelist: 8086:29c0',
        'cannot be used for peer-to-peer DMA as the client and provider (0000:04:00.0) do not share an upstream bridge or whitelisted host bridge',
      ],
    });
  });
});

describe('through the host bridge (host_bridge_whitelist, cpu_supports_p2pdma)', () => {
  const E5 = bridge(0x8086, 0x2f00);
  const OTHER_E5 = bridge(0x8086, 0x2f00);
  const SKYLAKE = bridge(0x8086, 0x2030);
  const ICE_LAKE = bridge(0x8086, 0x09a2);
  const GOOGLE = bridge(0x1ae0, 0x1234);
  const NAMELESS: HostBridge = { name: 'pci0000:00', identity: null };
  test.each([
    ['AMD since Zen, whatever its bridges', UNLISTED, UNLISTED, ZEN, 'thru_host_bridge'],
    ['AMD before Zen', UNLISTED, UNLISTED, { vendor: 'amd', family: 0x16 }, 'not_supported'],
    ['another vendor with that family', UNLISTED, UNLISTED, { vendor: 'other', family: 0x17 }, 'not_supported'],
    ['one bridge of a Xeon E7 v3', E5, E5, INTEL_SERVER, 'thru_host_bridge'],
    ['two bridges of a Xeon E7 v3', E5, OTHER_E5, INTEL_SERVER, 'not_supported'],
    ['two bridges since Skylake', SKYLAKE, ICE_LAKE, INTEL_SERVER, 'thru_host_bridge'],
    ['one listed and one not', SKYLAKE, UNLISTED, INTEL_SERVER, 'not_supported'],
    ['one not and one listed', UNLISTED, SKYLAKE, INTEL_SERVER, 'not_supported'],
    ['any bridge of Google', GOOGLE, SKYLAKE, { vendor: 'other', family: 0 }, 'thru_host_bridge'],
    ['a bridge without a device of its own', NAMELESS, NAMELESS, INTEL_SERVER, 'not_supported'],
  ] as const)('%s', (_, first, second, cpu, type) => {
    const { provider, client } = apart(first, second);
    expect(calculateP2pdmaPath(provider, client, cpu)).toMatchObject({ type, distance: 4 });
  });
});

describe('answers kept (pci_p2pdma_map_type)', () => {
  test('a pair is worked out once, with its warning; a change of ACS bits comes too late for it', () => {
    const { tree, nic, drive, neighbour, left } = switchedPair();
    const warnings: string[] = [];
    const distances = new P2pdmaDistances(tree, INTEL_SERVER, (message) => warnings.push(message));
    const provider = providerOf(drive);
    expect(distances.mapType(provider, nic.sourceId)).toBe('bus_addr');
    left.acs = ACS_REQUEST_REDIRECT;
    expect(distances.mapType(provider, nic.sourceId)).toBe('bus_addr');
    expect(distances.calculations).toBe(1);
    expect(warnings).toEqual([]);
    expect(distances.mapType(providerOf(neighbour), nic.sourceId)).toBe('not_supported');
    expect(warnings[0]).toBe('0000:03:00.0: ACS redirect is set between the client and provider (0000:04:00.1)');
  });

  test('a client that is no PCI device reaches nobody, and a set of clients is as good as its worst', () => {
    const { tree, nic, drive, neighbour } = switchedPair();
    const distances = new P2pdmaDistances(tree, INTEL_SERVER);
    expect(distances.mapType(providerOf(drive), -1)).toBe('not_supported');
    expect(distances.distance(providerOf(drive), [nic.sourceId, neighbour.sourceId])).toBe(6);
    expect(distances.distance(providerOf(drive), [nic.sourceId, 0x7777])).toBe(-1);
    expect(distances.distance(providerOf(drive), [])).toBe(-1);
  });

  test('one mapping asks once for a run of pages of one provider, RAM between them or not', () => {
    const { tree, nic, drive, neighbour } = switchedPair();
    const distances = new P2pdmaDistances(tree, INTEL_SERVER);
    const first = providerOf(drive);
    const second = providerOf(neighbour);
    const state = new P2pdmaMapState();
    const types = [first, first, null, first, second, first, null].map((provider) =>
      state.resolve(distances, provider, nic.sourceId),
    );
    expect(types).toEqual(['bus_addr', 'bus_addr', 'none', 'bus_addr', 'bus_addr', 'bus_addr', 'none']);
    expect(state.lookups).toBe(3);
    expect(distances.calculations).toBe(2);
  });

  test('without a topology no peer can be reached', () => {
    const { drive } = switchedPair();
    expect(new P2pdmaMapState().resolve(null, providerOf(drive), 0x300)).toBe('not_supported');
  });
});

test('port trees that cannot be built are refused by name', () => {
  const { tree, nic, upstream } = switchedPair();
  expect(() => tree.addBelow(nic, 'endpoint', 0x500)).toThrow('0000:03:00.0');
  expect(() => tree.addBelow(upstream, 'endpoint', 0x500)).toThrow('downstream ports');
  expect(() => tree.addToRoot(UNLISTED, 'endpoint', 0x300)).toThrow('two functions');
});

test('the decision agrees with a naive one over random trees', () => {
  const bridges = [UNLISTED, bridge(0x8086, 0x2f01), bridge(0x8086, 0x2031), bridge(0x1ae0, 1)];
  const cpus: CpuIdentity[] = [INTEL_SERVER, ZEN, { vendor: 'amd', family: 0x15 }];
  const growth = fc.array(
    fc.record({ parent: fc.nat(), acs: fc.constantFrom(0, 0, 0, 1 << 2, 1 << 3, 1 << 4, 1 << 5), host: fc.nat(3) }),
    { minLength: 3, maxLength: 24 },
  );
  fc.assert(
    fc.property(growth, fc.nat(), fc.nat(), fc.constantFrom(...cpus), (steps, one, other, cpu) => {
      const nodes: PortNode[] = [];
      steps.forEach(({ parent, acs, host }, index) => {
        const upstream = parent % (index + 2) < index ? nodes[parent % (index + 2)]! : null;
        const hostBridge = upstream?.hostBridge ?? bridges[host]!;
        nodes.push({
          sourceId: index,
          name: `n${String(index)}`,
          kind: 'endpoint',
          hostBridge,
          upstream,
          acs,
          egressVector: 0,
          buses: new Set(),
          physicalFunction: null,
          way: null,
          memoryTiming: null,
        });
      });
      const provider = nodes[one % nodes.length]!;
      const client = nodes[other % nodes.length]!;
      const path = calculateP2pdmaPath(provider, client, cpu);
      expect({ type: path.type, distance: path.distance }).toEqual(naivePath(provider, client, cpu));
    }),
    { numRuns: 2000, seed: 11 },
  );
});

function naivePath(provider: PortNode, client: PortNode, cpu: CpuIdentity) {
  const up = (node: PortNode): PortNode[] => [node, ...(node.upstream === null ? [] : up(node.upstream))];
  const mine = up(provider);
  const theirs = up(client);
  const shared = mine.filter((node) => theirs.includes(node));
  const alone = [...mine, ...theirs].filter((node) => !shared.includes(node));
  const crossed = shared.length === 0 ? alone : [...alone, shared[0]!];
  const redirect = crossed.some(({ acs }) => (acs & 0b101100) !== 0);
  const distance = alone.length;
  if (shared.length > 0 && !redirect) return { type: 'bus_addr', distance };
  const rank = (host: HostBridge): number => ({ 0x29c0: 0, 0x2f01: 1, 0x2031: 2, 1: 2 })[host.identity!.deviceId] ?? 0;
  const needed = provider.hostBridge === client.hostBridge ? 1 : 2;
  const listed = rank(provider.hostBridge) >= needed && rank(client.hostBridge) >= needed;
  const zen = cpu.vendor === 'amd' && cpu.family >= 0x17;
  return { type: listed || zen ? 'thru_host_bridge' : 'not_supported', distance };
}
