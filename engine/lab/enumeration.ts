/**
 * Which bus, device and function each port and device of a lab has: host bridges one a socket, each with an equal share of the 256
 * buses as firmware gives them, and below each bridge the next free bus, depth first (Linux drivers/pci/probe.c
 * `pci_scan_bridge_extend`). Root ports are devices 1 and up of their root bus, where 0 stands for the host bridge; the ports of a
 * switch are devices 0 and up of the bus inside it. Parts come in the order of the document.
 * Leaves out: PCI domains beside 0, buses kept free for what may be plugged in.
 */
import { isDevice } from './deviceFunctions.ts';
import type { DevicePart, Part, PartOf } from './schema.ts';

const BUSES = 256;

export interface PlacedDevice {
  readonly part: DevicePart;
  /** bus << 8 | device << 3 | function. */
  readonly sourceId: number;
}

export interface PlacedSwitch {
  readonly part: PartOf<'switch'>;
  /** Of its upstream port. */
  readonly sourceId: number;
  readonly ports: readonly PlacedPort[];
}

/** A port that has a link below it: a root port, or a downstream port of a switch. */
export interface PlacedPort {
  readonly sourceId: number;
  /** What is at the end of the link; null: nothing. */
  readonly below: PlacedDevice | PlacedSwitch | null;
}

export interface PlacedRootPort extends PlacedPort {
  readonly part: PartOf<'rootPort'>;
}

export interface PlacedSocket {
  readonly part: PartOf<'socket'>;
  readonly rootBus: number;
  readonly rootPorts: readonly PlacedRootPort[];
  /** Buses that its host bridge may give, and those that it needs. */
  readonly buses: number;
  readonly busesNeeded: number;
}

/** Parents exist and lead to a socket. */
export function enumerate(parts: readonly Part[]): readonly PlacedSocket[] {
  const sockets = parts.filter((part) => part.kind === 'socket');
  const share = BUSES / 2 ** Math.ceil(Math.log2(Math.max(1, sockets.length)));
  return sockets.map((part, index): PlacedSocket => {
    const rootBus = index * share;
    let last = rootBus;
    const nextBus = (): number => (last += 1);
    const rootPorts = childrenOf(parts, part.id).flatMap((child) => (child.kind === 'rootPort' ? [child] : []));
    const placed = rootPorts.map((port, device): PlacedRootPort => {
      const sourceId = requesterId(rootBus, device + 1);
      return { part: port, sourceId, below: placeBelow(parts, childrenOf(parts, port.id)[0], nextBus(), nextBus) };
    });
    return { part, rootBus, rootPorts: placed, buses: share, busesNeeded: last - rootBus + 1 };
  });
}

/** `bus` is the secondary bus of the port above. */
function placeBelow(
  parts: readonly Part[],
  part: Part | undefined,
  bus: number,
  nextBus: () => number,
): PlacedDevice | PlacedSwitch | null {
  if (part === undefined) return null;
  if (isDevice(part)) return { part, sourceId: requesterId(bus, 0) };
  if (part.kind !== 'switch') return null;
  const inside = nextBus();
  const ports = childrenOf(parts, part.id).map((child, device): PlacedPort => {
    const sourceId = requesterId(inside, device);
    return { sourceId, below: placeBelow(parts, child, nextBus(), nextBus) };
  });
  return { part, sourceId: requesterId(bus, 0), ports };
}

function childrenOf(parts: readonly Part[], id: string): Part[] {
  return parts.filter((part) => part.kind !== 'socket' && part.parent === id);
}

function requesterId(bus: number, device: number): number {
  return (bus << 8) | (device << 3);
}
