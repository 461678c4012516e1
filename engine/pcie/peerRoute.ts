/**
 * Where the fabric sends a request of a function that bears a peer's bus address: across to the peer, below the root complex and
 * so unseen by the IOMMU, unless access control sends it up or stops it (PCI Express Base Specification 6.0, 1.3.3 switches and 6.12.3
 * ACS functions). It follows the request, where Linux's decision (p2pdmaDistance.ts) looks at completions as well. What goes up and comes
 * out of the IOMMU with a peer's physical address is the root complex's to send down again.
 * A bus address that lies in a window by accident goes to the peer too, as it does in hardware: which is why the windows of a
 * host bridge are reserved in every IOVA space.
 * Leaves out: the error that a stopped request would raise.
 */
import { PAGE_SIZE } from '../memory/addresses.ts';
import type { P2pdmaProvider, PageKinds } from '../memory/pageKinds.ts';
import type { OwnedWindow, PortNode, PortTree } from './portTree.ts';
import { routeRequest } from './routing.ts';

/** Where a request ends below the root complex, or that it gets there. */
export type PeerEnd = 'root_complex' | 'peer' | 'blocked';

export class PeerRoute {
  readonly requester: PortNode;
  /** The peer that was found last, and its CPU physical page. */
  owner: PortNode | null = null;
  physPage = -1;
  /** The port or function that stopped the last request. */
  stoppedAt: PortNode | null = null;
  private readonly tree: PortTree;

  constructor(tree: PortTree, requester: PortNode) {
    this.tree = tree;
    this.requester = requester;
  }

  /** Of a request to a page of bus addresses. Translated by the function, it bears what the root complex gave it (10.1). */
  find(busPage: number, kind: 'untranslated' | 'translated'): PeerEnd {
    const hit = this.tree.windowAt(busPage);
    if (hit === null) return 'root_complex';
    const route = routeRequest({ from: this.requester, to: hit.owner, kind });
    if (route.end === 'peer') this.found(hit, hit.window.firstPhysPage + busPage - hit.window.firstBusPage);
    if (route.end === 'blocked') this.stoppedAt = route.at;
    return route.end;
  }

  /** Whether a page that the root complex is to reach is a peer's: by its physical address, or without IOMMU by its bus address. */
  findBehind(page: number, translated: boolean): boolean {
    const hit = translated ? this.tree.windowOfPhysPage(page) : this.tree.windowAt(page);
    if (hit === null) return false;
    this.found(hit, translated ? page : hit.window.firstPhysPage + page - hit.window.firstBusPage);
    return true;
  }

  /** Whether a peer's completions come back below the root complex. */
  answersAcross(owner: PortNode): boolean {
    return routeRequest({ from: owner, to: this.requester, kind: 'completion' }).end === 'peer';
  }

  private found(hit: OwnedWindow, physPage: number): void {
    this.owner = hit.owner;
    this.physPage = physPage;
  }
}

/**
 * Makes a function's memory reachable: a window of bus addresses, pages that count as a peer's, and the provider that stands for
 * them (`pci_p2pdma_add_resource`). The bytes live at their CPU physical addresses. All sizes in pages.
 */
export function publishPeerMemory(
  tree: PortTree,
  owner: PortNode,
  kinds: PageKinds,
  memory: { readonly firstPhysPage: number; readonly pages: number; readonly firstBusPage?: number },
): P2pdmaProvider {
  const { firstPhysPage, pages, firstBusPage = firstPhysPage } = memory;
  tree.addWindow(owner, { firstBusPage, pages, firstPhysPage });
  const provider: P2pdmaProvider = {
    name: owner.name,
    busOffset: (firstBusPage - firstPhysPage) * PAGE_SIZE,
    sourceId: owner.sourceId,
  };
  kinds.setRange(firstPhysPage, pages, provider);
  return provider;
}
