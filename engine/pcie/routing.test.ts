/**
 * Routing and groups (PCI Express Base Specification 6.0, 6.12.3; Linux `pci_device_group`), against a search over all paths of random
 * fabrics with the rules written as what each port lets pass, hop by hop.
 */
import { describe, expect, it } from 'vitest';
import { RandomStream } from '../time/random.ts';
import { iommuGroups } from './iommuGroups.ts';
import { PortTree, type PortNode } from './portTree.ts';
import { routeRequest, type RequestKind } from './routing.ts';
import { randomFabric } from './testFabrics.ts';

const SV = 1;
const TB = 2;
const RR = 4;
const CR = 8;
const UF = 16;
const EC = 32;
const DT = 64;
const KINDS: readonly RequestKind[] = [
  'untranslated',
  'translated',
  'translation_request',
  'completion',
  'relaxed_completion',
];
const HOST = { name: 'host', identity: null };

type Place = PortNode | 'root';
type Devices = ReadonlyMap<PortNode, number>;

/** Every place that one hop leads to. Functions of one device reach each other inside it. */
function neighbours(place: Place, all: readonly PortNode[], devices: Devices): Place[] {
  if (place === 'root') return all.filter((node) => node.upstream === null);
  const below = all.filter((node) => node.upstream === place);
  const beside = all.filter(
    (node) =>
      node !== place &&
      node.kind === 'endpoint' &&
      place.kind === 'endpoint' &&
      devices.get(node) === devices.get(place),
  );
  return [place.upstream ?? 'root', ...below, ...beside];
}

function isUnder(node: PortNode, port: PortNode): boolean {
  for (let at: PortNode | null = node; at !== null; at = at.upstream) if (at === port) return true;
  return false;
}

/** Whether an access-control point, asked to let a request across to a peer beside it, must send it up instead. */
function mustGoUp(point: PortNode, kind: RequestKind): boolean {
  if (kind === 'relaxed_completion') return false;
  if (kind === 'completion') return (point.acs & CR) !== 0;
  if (kind === 'translated' && (point.acs & DT) !== 0) return false;
  return (point.acs & RR) !== 0;
}

function refusesAcross(point: PortNode, peer: PortNode, kind: RequestKind): boolean {
  if (kind === 'completion' || kind === 'relaxed_completion') return false;
  if (kind === 'translated' && (point.acs & DT) !== 0) return false;
  const bit = peer.kind === 'endpoint' ? peer.sourceId & 7 : (peer.sourceId >> 3) & 31;
  return (point.acs & EC) !== 0 && ((point.egressVector >>> bit) & 1) === 1;
}

/** Whether a request that came from `before` may go from `at` to `after`. */
function lets(
  before: Place | null,
  at: PortNode,
  after: Place,
  request: { from: PortNode; to: PortNode | null; kind: RequestKind; id: number },
  all: readonly PortNode[],
  devices: Devices,
): boolean {
  const { from, to, kind, id } = request;
  const translated = kind === 'translated' || kind === 'translation_request';
  if (at === from) {
    const insideDevice = to !== null && neighbours(from, all, devices).includes(to) && to.kind === 'endpoint';
    if (insideDevice && translated && (at.acs & TB) !== 0) return false;
    if (insideDevice && after === to) return !mustGoUp(at, kind) && !refusesAcross(at, to, kind);
    if (after !== (at.upstream ?? 'root')) return false;
    return !insideDevice || mustGoUp(at, kind);
  }
  if (before === 'root' || before === null) return false;
  const comesUp = before.upstream === at;
  if (!comesUp) {
    // going down: only towards the target, and never back
    return after !== 'root' && after.upstream === at && to !== null && isUnder(to, after);
  }
  if (at.kind === 'root_port' || at.kind === 'switch_downstream') {
    const known =
      id === from.sourceId || all.some((node) => node !== at && isUnder(node, at) && node.sourceId >> 8 === id >> 8);
    if ((at.acs & SV) !== 0 && !known) return false;
    if (translated && (at.acs & TB) !== 0) return false;
    if (after !== (at.upstream ?? 'root')) return false;
    if (at.kind === 'root_port' || to === null || !isUnder(to, at)) return true;
    return (at.acs & UF) !== 0;
  }
  // the inside of a switch: `before` is the port that the request came in by
  const inSwitch = to !== null && isUnder(to, at) && !isUnder(to, before);
  if (after === (at.upstream ?? 'root')) return !inSwitch || mustGoUp(before, kind);
  if (!inSwitch || after === 'root' || after === before || after.upstream !== at || !isUnder(to, after)) return false;
  return !mustGoUp(before, kind) && !refusesAcross(before, after, kind);
}

/** All ways from a function to its target or to the root, that every port on them lets pass. */
function allWays(request: Parameters<typeof lets>[3], all: readonly PortNode[], devices: Devices): Place[][] {
  const found: Place[][] = [];
  const search = (way: Place[]): void => {
    const at = way.at(-1)!;
    if (at === 'root' || (at === request.to && way.length > 1)) {
      found.push(way);
      return;
    }
    for (const after of neighbours(at, all, devices)) {
      if (way.includes(after)) continue;
      if (lets(way.at(-2) ?? null, at, after, request, all, devices)) search([...way, after]);
    }
  };
  search([request.from]);
  return found;
}

/** The ports of a way: the upstream port of a switch in which it turns is not one. */
function portsOf(way: readonly Place[]): PortNode[] {
  return way.flatMap((place, index) => {
    if (place === 'root') return [];
    const [before, after] = [way[index - 1], way[index + 1]];
    const turns = [before, after].every(
      (beside) => beside !== undefined && beside !== 'root' && beside.upstream === place,
    );
    return turns ? [] : [place];
  });
}

describe('routing', () => {
  it.each([
    ['', false],
    [', with virtual functions of either ARI', true],
  ])('finds the one way that every port lets pass, or none, as a search over all paths does%s', (_with, virtual) => {
    const random = new RandomStream(12).fork('routing');
    const ends = { peer: 0, root_complex: 0, blocked: 0 };
    let insideDevice = 0;
    for (let fabric = 0; fabric < (virtual ? 200 : 400); fabric += 1) {
      const { tree, endpoints, devices } = randomFabric(random, { virtualFunctions: virtual });
      const all = tree.functions;
      for (let draw = 0; draw < 30; draw += 1) {
        const from = endpoints[random.below(endpoints.length)]!;
        const to = random.below(6) === 0 ? null : endpoints[random.below(endpoints.length)]!;
        if (from === to) continue;
        const kind = KINDS[random.below(KINDS.length)]!;
        const stranger = endpoints[random.below(endpoints.length)]!.sourceId;
        const requesterId = random.below(4) === 0 ? stranger : from.sourceId;
        const route = routeRequest({ from, to, kind, requesterId });
        const ways = allWays({ from, to, kind, id: requesterId }, all, devices);
        ends[route.end] += 1;
        const virtualEnd = from.physicalFunction !== null || (to !== null && to.physicalFunction !== null);
        if (virtualEnd && route.end === 'peer' && route.ports.length === 0) insideDevice += 1;
        expect(ways.length).toBe(route.end === 'blocked' ? 0 : 1);
        if (route.end === 'blocked') continue;
        const [way] = ways;
        expect(way!.at(-1)).toBe(route.end === 'peer' ? to : 'root');
        expect(route.ports).toEqual(portsOf(way!).filter((place) => place !== from && place !== to));
      }
    }
    for (const count of Object.values(ends)) expect(count).toBeGreaterThan(500);
    expect(insideDevice > 100).toBe(virtual);
  });

  function twoDevices(acs: number): { one: PortNode; other: PortNode; port: PortNode } {
    const tree = new PortTree();
    const root = tree.addToRoot(HOST, 'root_port', 0);
    const inner = tree.addBelow(root, 'switch_upstream', 0x100);
    const port = tree.addBelow(inner, 'switch_downstream', 0x200, acs);
    const beside = tree.addBelow(inner, 'switch_downstream', 0x208);
    return { one: tree.addBelow(port, 'endpoint', 0x300), other: tree.addBelow(beside, 'endpoint', 0x400), port };
  }

  it.each<[string, number, RequestKind, string]>([
    ['turns in the switch', 0, 'untranslated', 'peer'],
    ['is redirected', RR, 'untranslated', 'root_complex'],
    ['goes direct when translated', RR | DT, 'translated', 'peer'],
    ['is blocked when translated', TB | DT, 'translated', 'translation_blocking'],
    ['is stopped by egress control', EC, 'untranslated', 'egress_control'],
    ['is redirected before egress control is asked', EC | RR, 'untranslated', 'root_complex'],
    ['has its completion redirected', CR, 'completion', 'root_complex'],
    ['has its relaxed completion left alone', CR, 'relaxed_completion', 'peer'],
  ])('a request to a sibling %s', (_what, acs, kind, end) => {
    const { one, other } = twoDevices(acs);
    const route = routeRequest({ from: one, to: other, kind });
    expect(route.end === 'blocked' ? route.by : route.end).toBe(end);
  });

  it('stops a requester id that does not belong below the port (source validation)', () => {
    const { one, other, port } = twoDevices(SV);
    expect(routeRequest({ from: one, to: null, kind: 'untranslated', requesterId: other.sourceId })).toMatchObject({
      end: 'blocked',
      at: port,
      by: 'source_validation',
    });
  });
});

describe('IOMMU groups', () => {
  it('are what Linux forms: one for each function where everything isolates, one for all where nothing does', () => {
    const count = (acs: number): number => {
      const tree = new PortTree();
      const root = tree.addToRoot(HOST, 'root_port', 0, acs);
      const inner = tree.addBelow(root, 'switch_upstream', 0x100);
      for (let index = 0; index < 2; index += 1) {
        const port = tree.addBelow(inner, 'switch_downstream', 0x200 | (index << 3), acs);
        tree.addBelow(port, 'endpoint', (3 + index) << 8);
      }
      return new Set(iommuGroups(tree.functions).values()).size;
    };
    expect(count(SV | RR | CR | UF)).toBe(6);
    expect(count(0)).toBe(1);
    expect(count(SV | RR | CR)).toBe(1);
  });

  it('keep functions of one device together unless each of them isolates', () => {
    const groups = (acs: readonly number[]): number => {
      const tree = new PortTree();
      const root = tree.addToRoot(HOST, 'root_port', 0, SV | RR | CR | UF);
      const made = acs.map((bits, index) => tree.addBelow(root, 'endpoint', 0x100 | index, bits));
      const found = iommuGroups(tree.functions);
      return new Set(made.map((node) => found.get(node))).size;
    };
    const all = SV | RR | CR | UF;
    expect(groups([all, all])).toBe(2);
    expect(groups([0, 0, 0])).toBe(1);
    expect(groups([all, 0, 0])).toBe(2);
  });

  it('leave each function alone exactly where every port isolates, and there nobody reaches a peer', () => {
    const random = new RandomStream(12).fork('groups');
    const isolating = SV | RR | CR | UF;
    for (let fabric = 0; fabric < 200; fabric += 1) {
      const { tree, endpoints } = randomFabric(random);
      for (const node of tree.functions) node.acs = isolating;
      const apart = iommuGroups(tree.functions);
      expect(new Set(apart.values()).size).toBe(tree.functions.length);
      for (const from of endpoints) {
        for (const to of endpoints) {
          if (from !== to) expect(routeRequest({ from, to, kind: 'untranslated' }).end).toBe('root_complex');
        }
      }
      // one port that does not isolate joins all that stands below it
      const port = tree.functions[random.below(tree.functions.length)]!;
      if (port.kind === 'endpoint' || port.kind === 'switch_upstream') continue;
      port.acs &= ~[SV, RR, CR, UF][random.below(4)]!;
      const joined = iommuGroups(tree.functions);
      const below = endpoints.filter((node) => isUnder(node, port));
      expect(new Set(below.map((node) => joined.get(node))).size).toBe(1);
      const others = endpoints.filter((node) => !isUnder(node, port));
      expect(new Set(others.map((node) => joined.get(node))).size).toBe(others.length);
    }
  });
});
