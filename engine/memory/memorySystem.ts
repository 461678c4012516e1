/**
 * The memory of a machine as its devices meet it: nodes of memory, one a socket, each with a last-level cache in front of it, and the
 * interconnect between the sockets. Whoever asks does so from a socket. Data and tables of the asker's own node come from its
 * cache or from DRAM; those of another node cross the interconnect both ways and are looked for in that socket's cache
 * (pcie-bench, SIGCOMM'18, 6.4: reads of remote memory take about 100 ns more). What a device writes lands in the cache of its own
 * socket wherever the memory is (Intel Data Direct I/O technology brief, 2012), unless DDIO is off: then it goes to its memory.
 * A walker that does not snoop (VT-d ECAP.C = 0, SMMU without IDR0.COHACC) reads DRAM.
 * Leaves out: lines that a third socket holds; the way back of dirty lines to their memory; banks and rows of DRAM.
 */
import { COUNTER, type Counters } from '../metrics/counters.ts';
import type { Picoseconds } from '../time/picoseconds.ts';
import { PAGE_SIZE } from './addresses.ts';
import type { LastLevelCache } from './lastLevelCache.ts';
import type { DataTiming, TablePlace, TableReadTiming } from './memoryTiming.ts';
import { SocketLink } from './socketLink.ts';

const LINE_BYTES = 64;
const WORD_BYTES = 4;

/** All in picoseconds; defaults and their sources are cost presets. */
export interface MemoryCosts {
  /** One read of a table entry, from the last-level cache; also where no cache is modelled. */
  readonly tableRead: Picoseconds;
  /** The same from DRAM. */
  readonly dramTableRead: Picoseconds;
  /** A device's read of data from DRAM, behind the root complex; also where no cache is modelled. */
  readonly memoryRead: Picoseconds;
  /** The same from the last-level cache. */
  readonly cachedRead: Picoseconds;
  /** What a read of another socket's memory takes longer. A write goes one way, which is half of it. */
  readonly remoteSocket: Picoseconds;
  /** For how long a cache line takes one direction of the interconnect. */
  readonly socketLinkPerLine: Picoseconds;
}

export interface MemoryNode {
  /** Pages of its memory; the pages of a node follow those of the node before. */
  readonly pages: number;
  /** Null: not modelled, and every access takes what the costs say. */
  readonly cache: LastLevelCache | null;
}

export class MemorySystem {
  readonly nodes: readonly MemoryNode[];
  readonly costs: MemoryCosts;
  readonly values: Float64Array;
  private readonly ends: readonly number[];
  /** By the node that the data comes from, and the node that it goes to. */
  private readonly links: readonly (readonly SocketLink[])[];

  constructor(nodes: readonly MemoryNode[], costs: MemoryCosts, counters: Counters) {
    this.nodes = nodes;
    this.costs = costs;
    this.values = counters.values;
    let end = 0;
    this.ends = nodes.map(({ pages }) => (end += pages));
    this.links = nodes.map(() => nodes.map(() => new SocketLink(costs.socketLinkPerLine)));
  }

  /** What the walkers and the root complex of a socket see. `snoops`: its walkers look into caches. */
  seenFrom(node: number, snoops = true): NodeView {
    return new NodeView(this, node, snoops);
  }

  /** The node that a page belongs to; pages beyond the last node are counted to it. */
  nodeOf(physPage: number): number {
    const { ends } = this;
    let node = 0;
    while (node < ends.length - 1 && physPage >= ends[node]!) node += 1;
    return node;
  }

  /** A CPU of a socket writes: the lines are in its cache now, and in no other. */
  cpuWrite(node: number, phys: number, bytes: number): void {
    const first = phys - (phys % LINE_BYTES);
    const own = this.nodes[node]!.cache;
    if (own !== null) for (let line = first; line < phys + bytes; line += LINE_BYTES) own.cpuAccess(line);
    this.forgetElsewhere(node, phys, bytes);
  }

  /** Lines that somebody flushes (`clflush`) or writes past the caches are in none of them. */
  forgetElsewhere(except: number, phys: number, bytes: number): void {
    const { nodes } = this;
    for (let node = 0; node < nodes.length; node += 1) {
      if (node !== except) nodes[node]!.cache?.forget(phys, bytes);
    }
  }

  link(from: number, to: number): SocketLink {
    return this.links[from]![to]!;
  }
}

export class NodeView implements TableReadTiming, DataTiming {
  private readonly system: MemorySystem;
  private readonly node: number;
  private readonly cache: LastLevelCache | null;
  private readonly snoops: boolean;

  constructor(system: MemorySystem, node: number, snoops: boolean) {
    this.system = system;
    this.node = node;
    this.cache = system.nodes[node]!.cache;
    this.snoops = snoops;
  }

  tableRead(physPage: number, word: number, at: number): number {
    const { system, node, cache, snoops } = this;
    const { costs, values } = system;
    const phys = physPage * PAGE_SIZE + word * WORD_BYTES;
    if (snoops && cache?.deviceRead(phys, WORD_BYTES) === true) return at + costs.tableRead;
    const home = system.nodeOf(physPage);
    const homeCache = system.nodes[home]!.cache;
    const cached = snoops && (homeCache === null || (home !== node && homeCache.deviceRead(phys, WORD_BYTES)));
    if (!cached) values[COUNTER.dramTableReads]! += 1;
    const read = cached ? costs.tableRead : costs.dramTableRead;
    return (home === node ? at : this.fetch(home, 1, at)) + read;
  }

  tablePlace(physPage: number, word: number): TablePlace {
    const { system, node, cache, snoops } = this;
    const phys = physPage * PAGE_SIZE + word * WORD_BYTES;
    if (snoops && cache?.holds(phys) === true) return { dram: false, remote: false };
    const home = system.nodeOf(physPage);
    const homeCache = system.nodes[home]!.cache;
    return { dram: !snoops || homeCache?.holds(phys) === false, remote: home !== node };
  }

  dataRead(physPage: number, offset: number, bytes: number, at: number): number {
    const { system, node, cache } = this;
    const { costs, values } = system;
    const phys = physPage * PAGE_SIZE + offset;
    if (cache?.deviceRead(phys, bytes) === true) return at + costs.cachedRead;
    const home = system.nodeOf(physPage);
    const homeCache = home === node ? null : system.nodes[home]!.cache;
    const cached = homeCache?.deviceRead(phys, bytes) === true;
    if (!cached) values[COUNTER.dramDataReads]! += 1;
    const read = cached ? costs.cachedRead : costs.memoryRead;
    return (home === node ? at : this.fetch(home, linesOf(phys, bytes), at)) + read;
  }

  dataWrite(physPage: number, offset: number, bytes: number, at: number): number {
    const { system, node, cache } = this;
    const phys = physPage * PAGE_SIZE + offset;
    const direct = cache?.takesDeviceWrites === true;
    cache?.deviceWrite(phys, bytes);
    system.forgetElsewhere(node, phys, bytes);
    const home = system.nodeOf(physPage);
    if (home === node || direct) return at;
    const { costs, values } = system;
    const lines = linesOf(phys, bytes);
    values[COUNTER.socketLinkLines]! += lines;
    return system.link(node, home).cross(lines, at) + Math.round(costs.remoteSocket / 2);
  }

  /** When lines of another node have come, without what its cache or memory takes. */
  private fetch(home: number, lines: number, at: number): number {
    const { system, node } = this;
    const { costs, values } = system;
    values[COUNTER.socketLinkLines]! += lines;
    return system.link(home, node).cross(lines, at) + costs.remoteSocket;
  }
}

function linesOf(phys: number, bytes: number): number {
  return Math.floor((phys + bytes - 1) / LINE_BYTES) - Math.floor(phys / LINE_BYTES) + 1;
}
