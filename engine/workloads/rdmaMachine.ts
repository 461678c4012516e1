/**
 * What an RDMA workload is told, and what it asks of its machine: an adapter behind the DMA API, a process's memory and its peers', and the
 * host at the other end of the cable, of which it sees no more than messages need.
 */
import type { CpuWork } from '../drivers/cpuWork.ts';
import type { NicRegionAdapterOptions } from '../drivers/rdma/nicRegionAdapter.ts';
import type { RdmaCosts } from '../drivers/rdma/rdmaCosts.ts';
import type { RequestMetrics } from '../drivers/requestMetrics.ts';
import type { FrameAllocator } from '../memory/frameAllocator.ts';
import type { PageKinds } from '../memory/pageKinds.ts';
import type { Counters } from '../metrics/counters.ts';
import type { EventLog } from '../metrics/eventLog.ts';
import type { MappingScheme } from '../schemes/scheme.ts';
import type { Cpu } from '../time/cpu.ts';
import type { EventHandler } from '../time/eventQueue.ts';
import { LabError } from '../time/labError.ts';
import type { BufferPiece, PeersPages } from './rdmaBuffers.ts';

/** Of a workload's keys and queue pairs: one process has one. */
export const PROTECTION_DOMAIN = 7;

export interface RdmaWorkloadOptions {
  /** The name under which errors and the log speak of it. */
  readonly name: string;
  /** What the far host does. */
  readonly operation: 'write' | 'read';
  readonly messageBytes: number;
  /** Each has one message under way. */
  readonly queuePairs: number;
  /** In all. */
  readonly messages: number;
  readonly regions: number;
  readonly regionBytes: number;
  /** After so many a region is registered anew, with another buffer; 0: never. */
  readonly messagesPerRegion: number;
  /** Where the scheme refuses a mixture, a region for each run of memory of one provider. */
  readonly split: boolean;
  readonly layout: readonly BufferPiece[];
}

type Nic = NicRegionAdapterOptions['nic'];

/** The host at the other end of the adapter's cable (engine/devices/rdmaNic/farHost.ts). */
export interface FarEnd {
  readonly memory: Pick<NicRegionAdapterOptions['memory'], 'readBytes' | 'writeBytes'>;
  /** Memory for messages. */
  allocate(bytes: number): number;
  /** A queue pair for messages of so many requests; `done` is told of each message's end with `kind` and the pair. */
  createPair(options: { nic: Nic; pd: number; requests: number; done: EventHandler; kind: number }): number;
  /** Appends a request to the pair's message; with the last one the message starts. */
  post(pair: number, request: FarRequest, last: boolean): void;
  /** Of the message that has ended; 0: it went well. */
  syndromeOf(pair: number): number;
}

interface FarRequest {
  readonly write: boolean;
  readonly remoteAddress: number;
  readonly remoteKey: number;
  readonly localAddress: number;
  readonly bytes: number;
}

export interface RdmaMachine extends Omit<NicRegionAdapterOptions, 'pd'> {
  readonly farHost: FarEnd;
  /** Where the process's RAM lies. */
  readonly frames: FrameAllocator;
  /** Null: all memory is RAM. */
  readonly pageKinds: PageKinds | null;
  readonly work: CpuWork;
  /** The first of them registers; default: all. */
  readonly cpus?: readonly Cpu[];
  readonly costs: RdmaCosts;
  /** A scheme for one region. */
  readonly scheme: () => MappingScheme;
  readonly peersPages: PeersPages;
  readonly metrics: RequestMetrics;
  readonly counters: Counters;
  readonly log: EventLog;
}

/** Throws what no machine could serve. */
export function checkOptions({ name, messageBytes, regionBytes, layout }: RdmaWorkloadOptions): void {
  if (messageBytes > regionBytes) {
    const problem = `A message of ${String(messageBytes)} bytes does not fit into a region of ${String(regionBytes)}.`;
    throw new LabError(name, problem, 'Choose larger regions or smaller messages.');
  }
  if (layout.length === 0) throw new LabError(name, 'its layout is empty.', 'Say what its regions are made of.');
}
