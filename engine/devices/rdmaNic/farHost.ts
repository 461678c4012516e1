/**
 * The host at the other end of an RDMA adapter's cable: plain memory that its adapter reaches without translation, one key for all of it,
 * and queue pairs whose requests a driver of no cost posts and sees completed. What its parts do is counted for nobody.
 * A queue pair carries one message at a time, of one request or of several; after an error both ends are made anew.
 * Leaves out: its CPUs.
 */
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { Counters } from '../../metrics/counters.ts';
import { Fabric, type FabricCosts } from '../../pcie/fabric.ts';
import type { LinkOptions } from '../../pcie/link.ts';
import type { EventHandler, EventQueue } from '../../time/eventQueue.ts';
import { RdmaNic, type RdmaNicOptions } from './rdmaNic.ts';
import * as spec from './rdmaSpecification.ts';

export interface FarHostOptions {
  readonly events: EventQueue;
  /** Of its adapter's slot, and what its root complex costs. */
  readonly link: LinkOptions;
  readonly costs: FabricCosts;
  readonly nic: RdmaNicOptions;
}

export interface FarPairOptions {
  /** The adapter at this end of the cable, and the protection domain of the keys that requests name. */
  readonly nic: RdmaNic;
  readonly pd: number;
  /** Requests of a message, at most. */
  readonly requests: number;
  /** Told with this kind and the pair that its message has ended. */
  readonly done: EventHandler;
  readonly kind: number;
}

/** RDMA WRITE or RDMA READ of one stretch. */
export interface FarRequest {
  readonly write: boolean;
  readonly remoteAddress: number;
  readonly remoteKey: number;
  /** In `memory`. */
  readonly localAddress: number;
  readonly bytes: number;
}

interface FarPair {
  readonly options: FarPairOptions;
  readonly sendQueue: number;
  readonly completions: number;
  readonly entries: number;
  number: number;
  posted: number;
  polled: number;
  /** Its message has ended, and the next request begins another. */
  ended: boolean;
  syndrome: number;
}

const MEMORY_BYTES = 2 ** 38;
const ALIGNMENT = 4096;
const SOURCE_ID = 0x100;
const PD = 1;
const REMOTE = spec.SEGMENT_BYTES;
const DATA = 2 * spec.SEGMENT_BYTES;
const SEGMENTS = 3;
const NOT_WRITTEN = 0xff;
const COUNTER_RADIX = 0x1_0000;

export class FarHost implements EventHandler {
  readonly memory = new PhysicalMemory(MEMORY_BYTES);
  readonly nic: RdmaNic;
  private readonly events: EventQueue;
  private readonly key: number;
  private readonly pairs: FarPair[] = [];
  /** Which pair a completion queue is of. */
  private readonly pairOfQueue: number[] = [];
  private allocated = 0;
  private readonly entry = new Uint8Array(spec.WQE_BASIC_BLOCK);
  private readonly completion = new Uint8Array(spec.CQE_BYTES);

  constructor({ events, link, costs, nic }: FarHostOptions) {
    this.events = events;
    const fabric = new Fabric({ events, memory: this.memory, translator: null, costs, counters: new Counters() });
    this.nic = new RdmaNic(fabric.addRootPort(link).addFunction(SOURCE_ID), events, nic);
    this.key = this.nic.createMkey({
      accessMode: spec.MLX5_MKC_ACCESS_MODE_PA,
      permissions: spec.MLX5_PERM_LOCAL_READ | spec.MLX5_PERM_LOCAL_WRITE,
      pd: PD,
      startAddress: 0,
      length: MEMORY_BYTES,
      logPageSize: 0,
      table: 0,
      tableBytes: 0,
    });
  }

  /** Memory for messages; it is never given back. */
  allocate(bytes: number): number {
    const address = this.allocated;
    this.allocated += Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
    if (this.allocated > MEMORY_BYTES) throw new Error('the far host has no memory left');
    return address;
  }

  /** A pair, connected with one of `nic` that only answers. */
  createPair(options: FarPairOptions): number {
    const entries = options.requests + 1;
    const sendQueue = this.allocate(options.requests * spec.WQE_BASIC_BLOCK);
    const completions = this.allocate(entries * spec.CQE_BYTES);
    const pair: FarPair = {
      options,
      sendQueue,
      completions,
      entries,
      number: 0,
      posted: 0,
      polled: 0,
      ended: true,
      syndrome: 0,
    };
    this.connect(pair, this.pairs.length);
    return this.pairs.push(pair) - 1;
  }

  /** Appends a request to the pair's message; with the last one the message starts. */
  post(index: number, request: FarRequest, last: boolean): void {
    const pair = this.pairs[index]!;
    const { entry } = this;
    if (pair.ended) pair.syndrome = 0;
    pair.ended = false;
    const view = new DataView(entry.buffer);
    const opcode = request.write ? spec.MLX5_OPCODE_RDMA_WRITE : spec.MLX5_OPCODE_RDMA_READ;
    entry.fill(0);
    view.setUint32(spec.CONTROL_OPCODE, (pair.posted % COUNTER_RADIX) * 0x100 + opcode);
    view.setUint32(spec.CONTROL_QPN_DS, pair.number * 0x100 + SEGMENTS);
    if (last) view.setUint8(spec.CONTROL_FLAGS, spec.MLX5_WQE_CTRL_CQ_UPDATE);
    spec.writeBe64(view, REMOTE + spec.REMOTE_ADDRESS, request.remoteAddress);
    view.setUint32(REMOTE + spec.REMOTE_KEY, request.remoteKey);
    view.setUint32(DATA + spec.DATA_BYTE_COUNT, request.bytes);
    view.setUint32(DATA + spec.DATA_LKEY, this.key);
    spec.writeBe64(view, DATA + spec.DATA_ADDRESS, request.localAddress);
    const block = pair.posted % pair.options.requests;
    this.memory.writeBytes(pair.sendQueue + block * spec.WQE_BASIC_BLOCK, entry, 0, entry.length);
    pair.posted += 1;
    if (last) this.nic.ringDoorbell(pair.number, pair.posted, this.events.now);
  }

  /** Of the pair's last message; 0: it went well. */
  syndromeOf(index: number): number {
    return this.pairs[index]!.syndrome;
  }

  /** An interrupt of a completion queue. */
  handleEvent(_kind: number, queue: number): void {
    const index = this.pairOfQueue[queue]!;
    const pair = this.pairs[index]!;
    this.nic.armCompletionQueue(queue);
    this.poll(pair);
    if (!pair.ended) return;
    const { syndrome, options } = pair;
    if (syndrome !== 0) this.connect(pair, index);
    options.done.handleEvent(options.kind, index);
  }

  /** Takes the completions that are there. */
  private poll(pair: FarPair): void {
    const { completion } = this;
    const view = new DataView(completion.buffer);
    for (;;) {
      const place = pair.completions + (pair.polled % pair.entries) * spec.CQE_BYTES;
      this.memory.readBytes(place, completion, 0, spec.CQE_BYTES);
      const said = completion[spec.CQE_OP_OWN]!;
      if (said === NOT_WRITTEN || (said & 1) !== Math.floor(pair.polled / pair.entries) % 2) return;
      pair.polled += 1;
      if (said >> 4 !== spec.MLX5_CQE_REQ && pair.syndrome === 0) pair.syndrome = completion[spec.CQE_SYNDROME]!;
      if (view.getUint16(spec.CQE_WQE_COUNTER) === (pair.posted - 1) % COUNTER_RADIX) pair.ended = true;
    }
  }

  /** Queue pairs at both ends, in the place of those that are in error. */
  private connect(pair: FarPair, index: number): void {
    const { options, completions, entries, sendQueue } = pair;
    const { nic, pd, requests } = options;
    const fresh = new Uint8Array(entries * spec.CQE_BYTES).fill(NOT_WRITTEN);
    this.memory.writeBytes(completions, fresh, 0, fresh.length);
    pair.posted = 0;
    pair.polled = 0;
    const sendCompletions = this.nic.createCompletionQueue({ address: completions, entries, interrupt: this, kind: 0 });
    this.pairOfQueue[sendCompletions] = index;
    pair.number = this.nic.createQueuePair({ pd: PD, sendQueue, sendBlocks: requests, sendCompletions });
    const nobody: EventHandler = { handleEvent: () => undefined };
    const never = nic.createCompletionQueue({ address: 0, entries: 1, interrupt: nobody, kind: 0 });
    const answering = nic.createQueuePair({ pd, sendQueue: 0, sendBlocks: 1, sendCompletions: never });
    nic.connect(answering, this.nic, pair.number);
    this.nic.connect(pair.number, nic, answering);
  }
}
