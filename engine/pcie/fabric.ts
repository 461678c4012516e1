/**
 * The fabric of one host bridge: the root complex with its memory behind it, and root ports with their links. It knows who
 * translates and what the ways through the root complex cost.
 * Leaves out: several sockets; the time that switches take.
 */
import type { ByteMemory } from '../memory/byteMemory.ts';
import type { LastLevelCache } from '../memory/lastLevelCache.ts';
import type { MemoryPort } from '../memory/memoryPort.ts';
import type { Counters } from '../metrics/counters.ts';
import type { EventQueue } from '../time/eventQueue.ts';
import type { Picoseconds } from '../time/picoseconds.ts';
import { DmaPort } from './dmaPort.ts';
import { Link, type LinkOptions } from './link.ts';
import type { PeerRoute } from './peerRoute.ts';
import type { Translator } from './translator.ts';

/** All in picoseconds; defaults and their sources are cost presets. */
export interface FabricCosts {
  /** One way through the root complex. */
  readonly rootComplex: Picoseconds;
  /** From the root complex to data in memory, for a read. */
  readonly memoryRead: Picoseconds;
  /** What a read takes longer whose data the last-level cache does not hold; default nothing. */
  readonly dramRead?: Picoseconds;
  /** From a CPU's store to a device register to the root port's link. */
  readonly mmioWrite: Picoseconds;
}

export interface FabricOptions {
  readonly events: EventQueue;
  readonly memory: ByteMemory;
  /** Null: bus addresses are physical addresses. */
  readonly translator: Translator | null;
  readonly costs: FabricCosts;
  readonly counters: Counters;
  /** Which data needs no trip to memory; default: all data takes `memoryRead`. */
  readonly lastLevelCache?: LastLevelCache;
  /** The way to memory that walks and reads of data share; default: as wide as it must be. */
  readonly memoryPort?: MemoryPort;
  /** Header credits for posted requests of each function; default: no limit. */
  readonly postedCredits?: number;
  /** Completions leave in the order of their requests; default: as their data comes. */
  readonly orderedCompletions?: boolean;
}

export class Fabric {
  private readonly options: FabricOptions;

  constructor(options: FabricOptions) {
    this.options = options;
  }

  addRootPort(link: LinkOptions): RootPort {
    return new RootPort(this.options, new Link(link));
  }
}

/** A root port; the functions below it share its link. */
export class RootPort {
  readonly link: Link;
  private readonly fabric: FabricOptions;

  constructor(fabric: FabricOptions, link: Link) {
    this.fabric = fabric;
    this.link = link;
  }

  /**
   * The DMA side of a function with this requester id (bus << 8 | device << 3 | function). `peers`: whom it reaches without the
   * root complex; null: nobody. `deviceTlb`: translations of its own, so that its requests go out translated; null: none.
   */
  addFunction(sourceId: number, peers: PeerRoute | null = null, deviceTlb: Translator | null = null): DmaPort {
    return new DmaPort(this.fabric, this.link, sourceId, peers, deviceTlb);
  }
}
