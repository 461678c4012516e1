/**
 * A machine with peers for the tests of this folder: a device whose memory is reached by bus address, one reached through the
 * host bridge, and one that can't be reached.
 */
import { PAGE_SIZE } from '../../memory/addresses.ts';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PageKinds, type P2pdmaProvider } from '../../memory/pageKinds.ts';
import type { P2pdmaTopology } from '../../pcie/p2pdma.ts';
import { TestMachine, type TestMachineOptions } from '../testMachine.ts';

const WINDOW_PAGES = 64;

/** Behind the same switch as the client, without ACS. Its bus addresses lie 256 MiB below the CPU's. */
export const SWITCH_PEER: P2pdmaProvider = { name: '0000:05:00.0', busOffset: -0x1000_0000, sourceId: 0x500 };
/** Behind another root port of a host bridge that forwards. */
export const BRIDGE_PEER: P2pdmaProvider = { name: '0000:06:00.0', busOffset: 0, sourceId: 0x600 };
/** Behind a host bridge that is not known to forward. */
export const FAR_PEER: P2pdmaProvider = { name: '0000:80:00.0', busOffset: 0, sourceId: 0x8000 };

export const SWITCH_WINDOW = 0xf000_0000;
export const BRIDGE_WINDOW = 0xf100_0000;
export const FAR_WINDOW = 0xf200_0000;

const TOPOLOGY: P2pdmaTopology = {
  mapType(provider) {
    if (provider === SWITCH_PEER) return 'bus_addr';
    return provider === BRIDGE_PEER ? 'thru_host_bridge' : 'not_supported';
  },
};

export class PeerMachine extends TestMachine {
  /** Whether the device's addresses go through the IOMMU's tables. */
  readonly translates: boolean;

  constructor(options: TestMachineOptions = {}) {
    const pageKinds = new PageKinds();
    pageKinds.setRange(SWITCH_WINDOW / PAGE_SIZE, WINDOW_PAGES, SWITCH_PEER);
    pageKinds.setRange(BRIDGE_WINDOW / PAGE_SIZE, WINDOW_PAGES, BRIDGE_PEER);
    pageKinds.setRange(FAR_WINDOW / PAGE_SIZE, WINDOW_PAGES, FAR_PEER);
    super({ pageKinds, p2pdma: TOPOLOGY, ...options });
    this.translates = options.domain !== 'none' && options.domain !== 'passthrough';
  }

  /** The pages of a peer's window. */
  windowFrames(window: number): FrameAllocator {
    return new FrameAllocator(this.memory, window / PAGE_SIZE, WINDOW_PAGES);
  }

  /** Page-table events only. */
  takeTableEvents(): string[] {
    return this.takeEvents().filter((line) => /^(alloc|map|unmap|flush|free) /.test(line));
  }
}
