/** Addresses as Linux gives them: depth first, each bridge its secondary bus (drivers/pci/probe.c `pci_scan_bridge_extend`). */
import { describe, expect, it } from 'vitest';
import { RandomStream } from '../time/random.ts';
import { enumerate, type PlacedPort } from './enumeration.ts';
import { pciPlaces } from './pciTree.ts';
import type { Part } from './schema.ts';
import { twoSocketLab, type PartFields } from './testing/twoSockets.ts';
import { sampleLab } from './testing/sampleLab.ts';

const addresses = (parts: readonly Part[]): Record<string, string> =>
  Object.fromEntries([...pciPlaces(parts)].map(([id, { address }]) => [id, address]));

describe('addresses', () => {
  it('of one root port with one drive: bus 1, device 0', () => {
    expect(addresses(sampleLab().topology.parts)).toEqual({ port0: '0000:00:01.0', nvme0: '0000:01:00.0' });
  });

  it('go through a switch before the next root port, and begin anew on the next socket', () => {
    expect(addresses(twoSocketLab().topology.parts)).toEqual({
      port0: '0000:00:01.0',
      switch0: '0000:01:00.0',
      // 02 is the bus inside the switch, whose ports lead to 03 and 04
      nvme0: '0000:03:00.0',
      nvme1: '0000:04:00.0',
      port1: '0000:80:01.0',
      nvme2: '0000:81:00.0',
    });
  });

  it('give a port with nothing below it a bus as well', () => {
    const { parts } = sampleLab().topology;
    const port = parts.find(({ kind }) => kind === 'rootPort')!;
    const empty = { ...port, id: 'empty' };
    expect(addresses([empty, ...parts])).toMatchObject({ port0: '0000:00:02.0', nvme0: '0000:02:00.0' });
  });

  it('number the buses below every bridge in one stretch, each once, in random trees', () => {
    const random = new RandomStream(11);
    for (let round = 0; round < 200; round += 1) {
      const sockets = enumerate(randomParts(random));
      const seen = new Set<number>();
      // what a bridge forwards: from its secondary bus on, as many as stand below it
      const busesBelow = ({ below }: PlacedPort, first: number): number => {
        expect(seen.has(first)).toBe(false);
        seen.add(first);
        if (below === null) return 1;
        expect(below.sourceId).toBe(first << 8);
        if (!('ports' in below)) return 1;
        let next = first + 2;
        seen.add(first + 1);
        below.ports.forEach((port, device) => {
          expect(port.sourceId).toBe(((first + 1) << 8) | (device << 3));
          next += busesBelow(port, next);
        });
        return next - first;
      };
      for (const { rootBus, rootPorts, busesNeeded } of sockets) {
        let next = rootBus + 1;
        rootPorts.forEach((port, index) => {
          expect(port.sourceId).toBe((rootBus << 8) | ((index + 1) << 3));
          next += busesBelow(port, next);
        });
        expect(busesNeeded).toBe(next - rootBus);
      }
    }
  });
});

describe('IOMMU groups of a lab', () => {
  const groups = (fields: PartFields): (number | null)[] => {
    const places = pciPlaces(twoSocketLab(fields).topology.parts);
    return ['nvme0', 'nvme1', 'nvme2'].map((id) => places.get(id)!.iommuGroup);
  };

  it('are apart where ports isolate, and join the drives where none does', () => {
    expect(new Set(groups({})).size).toBe(3);
    const [first, second, third] = groups({ port0: { acs: [] }, switch0: { acs: [] } });
    expect([second === first, third === first]).toEqual([true, false]);
  });

  it('need all four bits: requests that are not redirected reach the neighbour', () => {
    const bits = ['sourceValidation', 'completionRedirect', 'upstreamForwarding'];
    const [first, second] = groups({ port0: { acs: bits }, switch0: { acs: bits } });
    expect(second).toBe(first);
  });

  it('are none where no IOMMU is above', () => {
    const { parts } = twoSocketLab().topology;
    const places = pciPlaces(parts.filter(({ id }) => id !== 'iommu1'));
    expect([places.get('nvme0')!.iommuGroup === null, places.get('nvme2')!.iommuGroup]).toEqual([false, null]);
  });
});

/** One or two sockets with random switches; in the order in which they are drawn. */
function randomParts(random: RandomStream): Part[] {
  const parts: Record<string, unknown>[] = [];
  let next = 0;
  const add = (kind: string, parent: string): string => {
    next += 1;
    const id = `${kind}${next}`;
    parts.push({ id, kind, parent });
    return id;
  };
  const populate = (parent: string, depth: number): void => {
    if (depth === 3 || random.below(3) === 0) {
      if (random.below(3) > 0) add('nvme', parent);
      return;
    }
    const inner = add('switch', parent);
    const ports = random.below(4);
    for (let port = 0; port < ports; port += 1) populate(inner, depth + 1);
  };
  const sockets = 1 + random.below(2);
  for (let socket = 0; socket < sockets; socket += 1) {
    parts.push({ id: `cpu${socket}`, kind: 'socket' });
    const ports = 1 + random.below(2);
    for (let port = 0; port < ports; port += 1) populate(add('rootPort', `cpu${socket}`), 0);
  }
  return parts as unknown as Part[];
}
