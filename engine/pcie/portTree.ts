/**
 * Who stands below whom on PCI Express: host bridges, root ports, the ports of switches, and the functions of devices, with
 * the access-control bits of each port and the windows of bus addresses that its memory answers to (PCI Express Base
 * Specification 6.0, 1.3 topology and 6.12 access control services; Linux struct pci_dev, `pci_upstream_bridge`).
 * A function is known by its requester id with the PCI domain above it: domain << 16 | bus << 8 | device << 3 | function.
 * Leaves out: bus numbers as routing ids, bridges to conventional PCI; links are way.ts's.
 */
import { PAGE_SIZE } from '../memory/addresses.ts';
import type { DataTiming } from '../memory/memoryTiming.ts';
import { LabError } from '../time/labError.ts';
import type { Way } from './way.ts';

/** An egress control vector that stops requests to every peer. */
const EVERY_PEER = 0xffff_ffff;

/** Bits of the access-control register, as its capability counts them. */
export const ACS_SOURCE_VALIDATION = 1 << 0;
export const ACS_TRANSLATION_BLOCKING = 1 << 1;
export const ACS_REQUEST_REDIRECT = 1 << 2;
export const ACS_COMPLETION_REDIRECT = 1 << 3;
export const ACS_UPSTREAM_FORWARDING = 1 << 4;
export const ACS_EGRESS_CONTROL = 1 << 5;
export const ACS_DIRECT_TRANSLATED = 1 << 6;

export interface HostBridge {
  readonly name: string;
  /**
   * Of the device that stands for the bridge in lspci: 00.0 of its root bus, or its first root port. Null: there is none
   * such, and no list can name it.
   */
  readonly identity: { readonly vendorId: number; readonly deviceId: number } | null;
}

export type PortKind = 'root_port' | 'switch_upstream' | 'switch_downstream' | 'endpoint';

/** Memory that answers to bus addresses, in pages. */
export interface MemoryWindow {
  readonly firstBusPage: number;
  readonly pages: number;
  /** CPU physical page of the first; the bytes live there. */
  readonly firstPhysPage: number;
}

/** A function of the tree. */
export interface PortNode {
  readonly sourceId: number;
  /** As the kernel prints it: `0000:03:00.0`. */
  readonly name: string;
  readonly kind: PortKind;
  readonly hostBridge: HostBridge;
  /** Null on a root bus. */
  readonly upstream: PortNode | null;
  /** `ACS_*` bits that are switched on; 0 also where the capability is missing. */
  acs: number;
  /** The egress control vector: peers by their `peerNumber` to which requests are stopped; all of them unless it is set. */
  egressVector: number;
  /** Buses of the functions below. */
  readonly buses: Set<number>;
  /** Of a virtual function, the physical one that it belongs to (chapter 9); null: it is none. */
  readonly physicalFunction: PortNode | null;
  /** From below this port to the root complex; null: no fabric has said. */
  way: Way | null;
  /** What its own memory takes when peers read and write it; null: what the fabric's costs say. */
  memoryTiming: DataTiming | null;
}

/** A window and whose it is. */
export interface OwnedWindow {
  readonly owner: PortNode;
  readonly window: MemoryWindow;
}

export class PortTree {
  private readonly nodes = new Map<number, PortNode>();
  /** By bus address; disjoint. */
  private windows: readonly OwnedWindow[] = [];

  /** A root port, or a function integrated into the root complex: a child of a host bridge. */
  addToRoot(hostBridge: HostBridge, kind: 'root_port' | 'endpoint', sourceId: number, acs = 0): PortNode {
    return this.add({ hostBridge, kind, sourceId, acs, upstream: null, physicalFunction: null });
  }

  /** `upstream` is a port that has something below it. */
  addBelow(upstream: PortNode, kind: Exclude<PortKind, 'root_port'>, sourceId: number, acs = 0): PortNode {
    const problem = placementProblem(upstream, kind);
    if (problem !== null) {
      throw new LabError(
        pciName(sourceId),
        `a ${describeKind(kind)} cannot stand below ${upstream.name}: ${problem}.`,
        'Switch ports come in pairs: an upstream port, and downstream ports below it; functions stand below downstream and root ports.',
      );
    }
    return this.add({ hostBridge: upstream.hostBridge, kind, sourceId, acs, upstream, physicalFunction: null });
  }

  /** Its buses lead to the same port as that of its physical function. */
  addVirtualFunction(physicalFunction: PortNode, sourceId: number, acs: number): PortNode {
    const { hostBridge, upstream } = physicalFunction;
    return this.add({ hostBridge, kind: 'endpoint', sourceId, acs, upstream, physicalFunction });
  }

  /** Takes virtual functions away, with their memory. The ports above keep their buses. */
  removeVirtualFunctions(physicalFunction: PortNode): void {
    for (const node of this.functions) if (node.physicalFunction === physicalFunction) this.nodes.delete(node.sourceId);
    this.windows = this.windows.filter(({ owner }) => owner.physicalFunction !== physicalFunction);
  }

  find(sourceId: number): PortNode | null {
    return this.nodes.get(sourceId) ?? null;
  }

  /** Lets a function's memory answer to a range of bus addresses. */
  addWindow(owner: PortNode, window: MemoryWindow): void {
    const end = window.firstBusPage + window.pages;
    const taken = this.windows.find(
      (other) => other.window.firstBusPage < end && endOf(other.window) > window.firstBusPage,
    );
    if (taken !== undefined) {
      throw new LabError(
        owner.name,
        `its window at bus address 0x${(window.firstBusPage * PAGE_SIZE).toString(16)} overlaps that of ${taken.owner.name}.`,
        'Move one of the two.',
      );
    }
    this.windows = [...this.windows, { owner, window }].sort(
      (left, right) => left.window.firstBusPage - right.window.firstBusPage,
    );
  }

  /** The window that holds a page of bus addresses. */
  windowAt(busPage: number): OwnedWindow | null {
    const { windows } = this;
    let low = 0;
    let high = windows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (endOf(windows[middle]!.window) <= busPage) low = middle + 1;
      else high = middle;
    }
    const found = windows[low];
    return found !== undefined && found.window.firstBusPage <= busPage ? found : null;
  }

  /** The window behind which a CPU physical page lies. */
  windowOfPhysPage(physPage: number): OwnedWindow | null {
    for (const owned of this.windows) {
      const { firstPhysPage, pages } = owned.window;
      if (physPage >= firstPhysPage && physPage < firstPhysPage + pages) return owned;
    }
    return null;
  }

  /** All functions, in the order in which they were added. */
  get functions(): readonly PortNode[] {
    return [...this.nodes.values()];
  }

  private add(node: Omit<PortNode, 'name' | 'egressVector' | 'buses' | 'way' | 'memoryTiming'>): PortNode {
    const name = pciName(node.sourceId);
    if (this.nodes.has(node.sourceId)) {
      throw new LabError(name, 'two functions of the topology have this address.', 'Give each its own.');
    }
    const added: PortNode = {
      ...node,
      name,
      egressVector: EVERY_PEER,
      buses: new Set(),
      way: null,
      memoryTiming: null,
    };
    for (let port = node.upstream; port !== null; port = port.upstream) port.buses.add(node.sourceId >>> 8);
    this.nodes.set(node.sourceId, added);
    return added;
  }
}

/** Whether two functions belong to one device: one bus and device number below one port; virtual functions where theirs does. */
export function isSameDevice(one: PortNode, other: PortNode): boolean {
  const [left, right] = [one.physicalFunction ?? one, other.physicalFunction ?? other];
  return left.upstream === right.upstream && left.sourceId >>> 3 === right.sourceId >>> 3;
}

/** Whether a function is a port or stands below it. */
export function isBelow(node: PortNode, port: PortNode): boolean {
  let at: PortNode | null = node;
  while (at !== null && at !== port) at = at.upstream;
  return at !== null;
}

/** The bit of a peer in an egress control vector: its device number for a port, its function number inside a device. */
export function peerNumber(peer: PortNode): number {
  return peer.kind === 'endpoint' ? peer.sourceId & 7 : (peer.sourceId >>> 3) & 31;
}

/** `0000:3b:00.1`. */
function pciName(sourceId: number): string {
  const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');
  const domain = Math.floor(sourceId / 0x1_0000);
  return `${hex(domain, 4)}:${hex((sourceId >>> 8) & 0xff, 2)}:${hex((sourceId >>> 3) & 0x1f, 2)}.${String(sourceId & 7)}`;
}

/** `pci_bridge_has_acs_redir`: requests, completions or chosen peers are sent up instead of across. */
export function redirectsPeers(node: PortNode): boolean {
  return (node.acs & (ACS_REQUEST_REDIRECT | ACS_COMPLETION_REDIRECT | ACS_EGRESS_CONTROL)) !== 0;
}

function endOf(window: MemoryWindow): number {
  return window.firstBusPage + window.pages;
}

function placementProblem(upstream: PortNode, kind: PortKind): string | null {
  if (upstream.kind === 'endpoint') return 'it is no bridge';
  if (kind === 'switch_downstream' && upstream.kind !== 'switch_upstream') return 'it is no upstream port of a switch';
  if (kind !== 'switch_downstream' && upstream.kind === 'switch_upstream') {
    return 'only downstream ports of its switch do';
  }
  return null;
}

function describeKind(kind: PortKind): string {
  return kind.replace('_', ' ');
}
