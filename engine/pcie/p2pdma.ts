/**
 * How a device reaches a peer's memory: the kinds of way, and the one-entry memory with which a mapping call asks once for a run of
 * pages of one provider (Linux include/linux/pci-p2pdma.h: `enum pci_p2pdma_map_type`, `struct pci_p2pdma_map_state`,
 * `pci_p2pdma_state`). The decision itself is p2pdmaDistance.ts.
 * Leaves out: the allocator of peer memory (`pci_alloc_p2pmem`), publishing and finding providers.
 */
import type { P2pdmaProvider } from '../memory/pageKinds.ts';

/**
 * `none`: ordinary memory. `bus_addr`: switches route it by its bus address, below any IOMMU. `thru_host_bridge`: mapped as
 * device registers are, by CPU physical address. `not_supported`: no way that works on every machine of that kind.
 */
export type P2pdmaMapType = 'none' | 'not_supported' | 'bus_addr' | 'thru_host_bridge';

/** The machine's answer for a provider and a client; a client that is no PCI device is in no topology. */
export interface P2pdmaTopology {
  mapType(provider: P2pdmaProvider, clientSourceId: number): P2pdmaMapType;
}

/** `struct pci_p2pdma_map_state`: lives as long as one mapping operation of one client. */
export class P2pdmaMapState {
  /** Times that the topology was asked. */
  lookups = 0;
  private provider: P2pdmaProvider | null = null;
  private type: P2pdmaMapType = 'none';

  /** `provider` is null for RAM, which is no question and leaves the memory as it is. No topology: no peer is reachable. */
  resolve(topology: P2pdmaTopology | null, provider: P2pdmaProvider | null, clientSourceId: number): P2pdmaMapType {
    if (provider === null) return 'none';
    if (provider !== this.provider) {
      this.provider = provider;
      this.lookups += 1;
      this.type = topology === null ? 'not_supported' : topology.mapType(provider, clientSourceId);
    }
    return this.type;
  }
}
