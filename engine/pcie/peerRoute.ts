/**
 * Where switches send a request of a function that bears a peer's bus address: across to the peer, below the root complex and
 * so unseen by the IOMMU, unless access control sends it up (PCI Express Base Specification 6.0, 1.3.3 switches and 6.12.3 ACS
 * functions). It follows the request, where Linux's decision (p2pdmaDistance.ts) looks at completions as well.
 * A bus address that lies in a window by accident goes to the peer too, as it does in hardware: which is why the windows of a
 * host bridge are reserved in every IOVA space.
 * Leaves out: translated requests (ATS) and their direct way (routing.ts knows it); the error that a stopped request would raise.
 */
import { PAGE_SIZE } from '../memory/addresses.ts';
import type { P2pdmaProvider, PageKinds } from '../memory/pageKinds.ts';
import type { PortNode, PortTree } from './portTree.ts';
import { routeRequest } from './routing.ts';

export class PeerRoute {
  private readonly tree: PortTree;
  private readonly requester: PortNode;

  constructor(tree: PortTree, requester: PortNode) {
    this.tree = tree;
    this.requester = requester;
  }

  /** The CPU physical page behind a peer's bus address; -1: the request goes up to the root complex, or is stopped on its way. */
  physPageOf(busPage: number): number {
    const hit = this.tree.windowAt(busPage);
    if (hit === null || hit.owner === this.requester) return -1;
    if (routeRequest({ from: this.requester, to: hit.owner, kind: 'untranslated' }).end !== 'peer') return -1;
    return hit.window.firstPhysPage + busPage - hit.window.firstBusPage;
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
