/**
 * The way of a request through the fabric by the rules of routing and access control (PCI Express Base Specification 6.0, 1.3.3 switches,
 * 2.2.4 routing, 6.12.3 and 6.12.4 ACS functions and their interactions; 10.1 for the address type). A request goes up from port to port. At
 * each downstream port of a switch, and inside a device of several functions, it turns towards a peer unless access control sends it up or
 * stops it; what reaches a root port is the root complex's.
 *
 * Source validation stops a requester id that does not belong below the port. Translation blocking stops translated requests and translation
 * requests. A direct translated request turns whatever else is set; a request redirect sends requests up, a completion redirect completions that
 * keep their order; egress control stops requests to the peers of its vector. What comes up to a port and belongs below that same port goes on
 * up only with upstream forwarding.
 * Leaves out: what the root complex does with a request (the IOMMU, and the host bridge's way to another root port), I/O requests, messages.
 */
import {
  ACS_COMPLETION_REDIRECT,
  ACS_DIRECT_TRANSLATED,
  ACS_EGRESS_CONTROL,
  ACS_REQUEST_REDIRECT,
  ACS_SOURCE_VALIDATION,
  ACS_TRANSLATION_BLOCKING,
  ACS_UPSTREAM_FORWARDING,
  isBelow,
  isSameDevice,
  peerNumber,
  type PortNode,
} from './portTree.ts';

export type RequestKind = 'untranslated' | 'translated' | 'translation_request' | 'completion' | 'relaxed_completion';

/** The access control service that stopped a request. */
export type Blocking = 'source_validation' | 'translation_blocking' | 'egress_control' | 'upstream_forwarding';

export type Route =
  | { readonly end: 'peer'; readonly ports: readonly PortNode[] }
  | { readonly end: 'root_complex'; readonly ports: readonly PortNode[] }
  | { readonly end: 'blocked'; readonly ports: readonly PortNode[]; readonly at: PortNode; readonly by: Blocking };

export interface RoutedRequest {
  readonly from: PortNode;
  /** Whose window the address falls into, or who asked; null: memory. */
  readonly to: PortNode | null;
  readonly kind: RequestKind;
  /** The requester id that the request bears; default its own. */
  readonly requesterId?: number;
}

/** The ports that a request passes, in order, and where it ends. */
export function routeRequest(request: RoutedRequest): Route {
  const { from, to, kind } = request;
  const ports: PortNode[] = [];
  if (to !== null && to !== from && isSameDevice(from, to)) {
    const turn = turnAt(from, to, kind);
    if (turn === 'across') return { end: 'peer', ports };
    if (turn !== 'up') return { end: 'blocked', ports, at: from, by: turn };
  }
  for (let port = from.upstream; port !== null; port = port.upstream) {
    ports.push(port);
    if (port.kind === 'switch_upstream') continue;
    const stopped = entryBlocked(port, request);
    if (stopped !== null) return { end: 'blocked', ports, at: port, by: stopped };
    const inner = port.upstream;
    if (to === null || inner === null || !isBelow(to, inner)) continue;
    if (isBelow(to, port)) {
      if ((port.acs & ACS_UPSTREAM_FORWARDING) !== 0) continue;
      return { end: 'blocked', ports, at: port, by: 'upstream_forwarding' };
    }
    const egress = portTowards(inner, to);
    const turn = turnAt(port, egress, kind);
    if (turn === 'across') return { end: 'peer', ports: [...ports, ...downTo(egress, to)] };
    if (turn !== 'up') return { end: 'blocked', ports, at: port, by: turn };
  }
  return { end: 'root_complex', ports };
}

function entryBlocked(port: PortNode, { from, kind, requesterId = from.sourceId }: RoutedRequest): Blocking | null {
  if ((port.acs & ACS_SOURCE_VALIDATION) !== 0 && !ownsId(port, from, requesterId)) return 'source_validation';
  const translated = kind === 'translated' || kind === 'translation_request';
  return translated && (port.acs & ACS_TRANSLATION_BLOCKING) !== 0 ? 'translation_blocking' : null;
}

/** Whether a requester id lies on the buses below a port, of which the requester's own is one. */
function ownsId(port: PortNode, from: PortNode, requesterId: number): boolean {
  if (requesterId === from.sourceId) return true;
  return port.buses.has(requesterId >>> 8);
}

/** What a port, or a function of a device, does with a request for a peer beside it. */
function turnAt(ingress: PortNode, peer: PortNode, kind: RequestKind): 'across' | 'up' | Blocking {
  const { acs } = ingress;
  if (kind === 'completion') return (acs & ACS_COMPLETION_REDIRECT) === 0 ? 'across' : 'up';
  if (kind === 'relaxed_completion') return 'across';
  if (kind !== 'untranslated' && (acs & ACS_TRANSLATION_BLOCKING) !== 0) return 'translation_blocking';
  if (kind === 'translated' && (acs & ACS_DIRECT_TRANSLATED) !== 0) return 'across';
  if ((acs & ACS_REQUEST_REDIRECT) !== 0) return 'up';
  const stopped = (acs & ACS_EGRESS_CONTROL) !== 0 && ((ingress.egressVector >>> peerNumber(peer)) & 1) === 1;
  return stopped ? 'egress_control' : 'across';
}

/** The port of a switch below which a function stands. */
function portTowards(inner: PortNode, to: PortNode): PortNode {
  let port = to;
  while (port.upstream !== null && port.upstream !== inner) port = port.upstream;
  return port;
}

function downTo(egress: PortNode, to: PortNode): PortNode[] {
  const way: PortNode[] = [];
  for (let port = to.upstream; port !== null && port !== egress.upstream; port = port.upstream) way.unshift(port);
  return way;
}
