/**
 * The fabric of one host bridge: the root complex with its memory behind it, root ports with their links, and switches below them. It
 * knows who translates and what the ways through the root complex cost. A machine of several sockets has a fabric for each of them.
 * Ports that are told which port of the tree they are (portTree.ts) can be found by peers, whose requests then take their links.
 * Leaves out: ports without a link below them.
 */
import type { ByteMemory } from '../memory/byteMemory.ts';
import type { MemoryPort } from '../memory/memoryPort.ts';
import type { DataTiming } from '../memory/memoryTiming.ts';
import type { Counters } from '../metrics/counters.ts';
import type { EventQueue } from '../time/eventQueue.ts';
import type { Picoseconds } from '../time/picoseconds.ts';
import { DmaPort } from './dmaPort.ts';
import { Link, type LinkOptions } from './link.ts';
import type { PeerRoute } from './peerRoute.ts';
import type { PortNode } from './portTree.ts';
import type { Translator } from './translator.ts';
import { SwitchTiming, Way, type SwitchOptions } from './way.ts';

/** All in picoseconds; defaults and their sources are cost presets. */
export interface FabricCosts {
  /** One way through the root complex. */
  readonly rootComplex: Picoseconds;
  /** From the root complex to data in memory, for a read. */
  readonly memoryRead: Picoseconds;
  /** From a CPU's store to a device register to the root port's link. */
  readonly mmioWrite: Picoseconds;
  /** From a read request's arrival at a peer to its data; default `memoryRead`. */
  readonly peerRead?: Picoseconds;
  /** One way from this host bridge to that of another socket; default half of what a read of remote memory takes longer, 52.5 ns. */
  readonly betweenHostBridges?: Picoseconds;
}

export interface FabricOptions {
  readonly events: EventQueue;
  readonly memory: ByteMemory;
  /** Null: bus addresses are physical addresses. */
  readonly translator: Translator | null;
  readonly costs: FabricCosts;
  readonly counters: Counters;
  /** What data takes, wherever it lies; default: a read takes `memoryRead`, and a write is visible when it comes. */
  readonly memoryTiming?: DataTiming;
  /** The way to memory that walks and reads of data share; default: as wide as it must be. */
  readonly memoryPort?: MemoryPort;
  /** Header credits for posted requests of each function; default: no limit. */
  readonly postedCredits?: number;
  /** Completions leave in the order of their requests; default: as their data comes. */
  readonly orderedCompletions?: boolean;
  /** The root complex answers what it would have to send down again with Unsupported Request; default: it passes it on. */
  readonly refusesPeers?: boolean;
}

export class Fabric {
  private readonly options: FabricOptions;

  constructor(options: FabricOptions) {
    this.options = options;
  }

  /** `node`: the root port in the machine's tree of ports; null: no peer is to find what stands below. */
  addRootPort(link: LinkOptions, node: PortNode | null = null): FabricPort {
    return new FabricPort(this.options, new Way(new Link(link)), node);
  }
}

/** A root port, or a downstream port of a switch; the functions below it share its link. */
export class FabricPort {
  readonly link: Link;
  private readonly fabric: FabricOptions;
  readonly way: Way;

  constructor(fabric: FabricOptions, way: Way, node: PortNode | null) {
    this.fabric = fabric;
    this.way = way;
    this.link = way.link;
    if (node !== null) node.way = way;
  }

  /** A switch at the other end of the link. */
  addSwitch(options: SwitchOptions = {}): FabricSwitch {
    return new FabricSwitch(this.fabric, this.way, new SwitchTiming(options));
  }

  /**
   * The DMA side of a function with this requester id (bus << 8 | device << 3 | function). `peers`: whom it reaches without memory;
   * null: nobody. `deviceTlb`: translations of its own, so that its requests go out translated; null: none.
   */
  addFunction(sourceId: number, peers: PeerRoute | null = null, deviceTlb: Translator | null = null): DmaPort {
    return new DmaPort(this.fabric, this.way, sourceId, peers, deviceTlb);
  }
}

export class FabricSwitch {
  private readonly fabric: FabricOptions;
  private readonly above: Way;
  private readonly timing: SwitchTiming;

  constructor(fabric: FabricOptions, above: Way, timing: SwitchTiming) {
    this.fabric = fabric;
    this.above = above;
    this.timing = timing;
  }

  /** `node`: the downstream port in the machine's tree of ports; null: no peer is to find what stands below. */
  addDownstreamPort(link: LinkOptions, node: PortNode | null = null): FabricPort {
    return new FabricPort(this.fabric, new Way(new Link(link), this.timing, this.above), node);
  }
}
