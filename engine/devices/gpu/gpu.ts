/**
 * A GPU as peers and its driver see it: memory behind a 64-bit prefetchable base address register, and a copy engine that does DMA
 * through the device's own port. It has no page tables of its own: its driver names places by offset.
 * Leaves out: shaders, display, engines other than the one for copies; interrupts other than the copy engine's.
 */
import { PAGE_SIZE } from '../../memory/addresses.ts';
import type { PageKinds, P2pdmaProvider } from '../../memory/pageKinds.ts';
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import type { AddressWindows, Bar } from '../../pcie/addressWindows.ts';
import type { DmaPort } from '../../pcie/dmaPort.ts';
import { publishPeerMemory } from '../../pcie/peerRoute.ts';
import type { PortNode, PortTree } from '../../pcie/portTree.ts';
import type { EventQueue } from '../../time/eventQueue.ts';
import { CopyEngine } from './copyEngine.ts';
import { GpuMemory } from './gpuMemory.ts';
import { gpuParameters, type GpuParameters } from './gpuParameters.ts';

export interface GpuMachine {
  readonly port: DmaPort;
  readonly events: EventQueue;
  readonly memory: PhysicalMemory;
}

export interface GpuOptions {
  /** Its place in the tree of ports. */
  readonly node: PortNode;
  /** CPU physical page of its memory, and how many pages it has. */
  readonly firstPage: number;
  readonly pages: number;
  readonly parameters?: GpuParameters;
}

export class Gpu {
  readonly node: PortNode;
  readonly memory: GpuMemory;
  readonly copyEngine: CopyEngine;
  readonly port: DmaPort;
  readonly events: EventQueue;

  constructor({ port, events, memory }: GpuMachine, options: GpuOptions) {
    const { node, firstPage, pages, parameters = gpuParameters() } = options;
    this.node = node;
    this.port = port;
    this.events = events;
    this.memory = new GpuMemory(memory, firstPage, pages, parameters);
    this.copyEngine = new CopyEngine(node.name, port, events, this.memory, parameters);
    node.memoryTiming = this.memory;
  }

  /** Its memory answers to bus addresses, and has struct pages that name its provider (`pci_p2pdma_add_resource`). */
  publish(tree: PortTree, kinds: PageKinds, firstBusPage = this.memory.firstPage): P2pdmaProvider {
    const { firstPage, pages } = this.memory;
    return publishPeerMemory(tree, this.node, kinds, { firstPhysPage: firstPage, pages, firstBusPage });
  }
}

/** The register of a GPU's memory, to be placed with all others of the machine; its address is a CPU physical one of `busOffset` 0. */
export function addGpuBar(windows: AddressWindows, node: PortNode, pages: number): Bar {
  return windows.addBar(node, { index: 0, size: pages * PAGE_SIZE, bits: 64, prefetchable: true });
}
