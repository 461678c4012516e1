/**
 * Receiving at the rate that the host allows: flows whose applications run on a few cores, each core with a ring of its own to which
 * its flows are steered (Linux: NAPI with its budget of 64 packets, GRO, TCP's acknowledgements, aRFS). Senders always have more, and
 * send in trains. A poll takes packets, merges those of a flow, and at its end, or when a merged packet is full, wakes the
 * application and acknowledges. An application waits for its turn on the core, the longer the more of them share it, and then reads
 * all that has come; until then its pages are held.
 * Leaves out: congestion control and retransmission (a packet that finds no descriptor is lost and not sent again), the application's
 * own work beyond the copy.
 */
import type { RingPage, ReceiveRing } from '../drivers/receiveRing.ts';
import type { Cpu } from '../time/cpu.ts';
import type { EventHandler, EventQueue } from '../time/eventQueue.ts';
import { picoseconds, type Picoseconds } from '../time/picoseconds.ts';
import type { RandomStream } from '../time/random.ts';

export interface ReceiveFlowsOptions {
  readonly flows: number;
  readonly packetBytes: number;
  /** Of a packet, what is not data. */
  readonly headerBytes: number;
  /** Packets of one flow that follow each other on the wire. */
  readonly trainPackets: number;
  /** NAPI's weight. */
  readonly pollBudget: number;
  /** Packets that GRO merges at most, and packets of a flow after which it acknowledges without the end of a poll. */
  readonly mergedPackets: number;
  readonly acknowledgementBytes: number;
  /** What the stack takes a packet, the application's copy a packet, and an acknowledgement. */
  readonly packetCost: Picoseconds;
  readonly copyCost: Picoseconds;
  readonly acknowledgementCost: Picoseconds;
  /** What an application waits for its turn on the average, for each application of its core. */
  readonly turnWait: Picoseconds;
}

/** Kinds: an interrupt's is 0 (the adapter's); the argument is the core. */
const INTERRUPT = 0;
const STEP = 1;
const WAKE = 2;

class Flow {
  readonly core: number;
  readonly unread: RingPage[] = [];
  unreadPackets = 0;
  merged = 0;
  waking = false;

  constructor(core: number) {
    this.core = core;
  }
}

class Core {
  readonly cpu: Cpu;
  readonly ring: ReceiveRing;
  readonly flows: number[] = [];
  /** Flows that a poll has touched, and flows whose application may run. */
  readonly touched: number[] = [];
  readonly runnable: number[] = [];
  polling = false;
  pollAgain = false;
  stepping = false;

  constructor(cpu: Cpu, ring: ReceiveRing) {
    this.cpu = cpu;
    this.ring = ring;
  }
}

export class ReceiveFlows implements EventHandler {
  /** Bytes of data in packets that the stack has taken; frames sent in return. */
  dataBytes = 0;
  packets = 0;
  acknowledgements = 0;
  ring = 0;
  flow = 0;
  packet: Uint8Array;
  private readonly options: ReceiveFlowsOptions;
  private readonly events: EventQueue;
  private readonly random: RandomStream;
  private readonly flows: Flow[] = [];
  private readonly cores: Core[] = [];
  private readonly patterns: readonly Uint8Array[];
  private readonly acknowledgementFrame: number;
  private trainLeft = 0;
  private sequence = 0;
  private stopped = false;

  /** `acknowledgementFrame`: physical address of what every acknowledgement consists of. */
  constructor(
    events: EventQueue,
    random: RandomStream,
    options: ReceiveFlowsOptions,
    packetsHeld: number,
    acknowledgementFrame: number,
  ) {
    this.events = events;
    this.random = random;
    this.options = options;
    this.acknowledgementFrame = acknowledgementFrame;
    this.patterns = Array.from({ length: packetsHeld + 1 }, () => new Uint8Array(options.packetBytes));
    this.packet = this.patterns[0]!;
  }

  /** Fills the ring of every core; then packets may come. */
  start(rings: readonly ReceiveRing[], cpus: readonly Cpu[]): void {
    for (const [index, ring] of rings.entries()) {
      const cpu = cpus[index]!;
      this.cores.push(new Core(cpu, ring));
      ring.fill(cpu);
    }
    for (let flow = 0; flow < this.options.flows; flow += 1) {
      const core = flow % this.cores.length;
      this.flows.push(new Flow(core));
      this.cores[core]!.flows.push(flow);
    }
  }

  /** No more packets; what has come is still taken and read. */
  stop(): void {
    this.stopped = true;
  }

  /** The adapter's cable: the next packet, of which `ring`, `flow` and `packet` then tell. */
  next(): boolean {
    if (this.stopped) return false;
    if (this.trainLeft === 0) {
      this.flow = this.random.below(this.flows.length);
      this.trainLeft = this.options.trainPackets;
    }
    this.trainLeft -= 1;
    this.ring = this.flows[this.flow]!.core;
    this.packet = this.patterns[this.sequence % this.patterns.length]!;
    this.packet[0] = this.flow % 256;
    this.sequence += 1;
    return true;
  }

  /** The next packet found no room. */
  dropped(): void {
    this.trainLeft = 0;
  }

  /** The stack's side of ReceiveRing's `take`. */
  take(cpu: Cpu, flowIndex: number, pages: readonly RingPage[]): void {
    const { options } = this;
    const flow = this.flows[flowIndex]!;
    cpu.spend(options.packetCost);
    this.packets += 1;
    this.dataBytes += options.packetBytes - options.headerBytes;
    flow.unread.push(...pages);
    flow.unreadPackets += 1;
    if (flow.merged === 0) this.cores[flow.core]!.touched.push(flowIndex);
    flow.merged += 1;
    if (flow.merged >= options.mergedPackets) this.deliver(flowIndex);
  }

  handleEvent(kind: number, argument: number): void {
    if (kind === WAKE) {
      const flow = this.flows[argument]!;
      this.cores[flow.core]!.runnable.push(argument);
      this.run(flow.core);
      return;
    }
    const core = this.cores[argument]!;
    if (kind === INTERRUPT) {
      core.pollAgain = true;
      this.run(argument);
    } else if (kind === STEP) {
      core.stepping = false;
      this.step(argument, core);
    }
  }

  /** One piece of work of a core: polls go before applications. */
  private step(index: number, core: Core): void {
    const { cpu, ring } = core;
    cpu.begin(this.events.now);
    if (!core.polling && core.pollAgain) {
      core.polling = true;
      core.pollAgain = false;
      ring.beginPoll(this.options.pollBudget);
    }
    if (core.polling) {
      if (!ring.step(cpu)) this.endPoll(core);
    } else {
      const flow = core.runnable.shift();
      if (flow === undefined) return;
      this.read(cpu, ring, this.flows[flow]!);
    }
    this.run(index);
  }

  private run(index: number): void {
    const core = this.cores[index]!;
    if (core.stepping) return;
    core.stepping = true;
    this.events.schedule(picoseconds(Math.max(this.events.now, core.cpu.now)), this, STEP, index);
  }

  private endPoll(core: Core): void {
    for (const flow of core.touched.splice(0)) if (this.flows[flow]!.merged > 0) this.deliver(flow);
    core.polling = false;
    core.pollAgain = core.ring.endPoll() || core.pollAgain;
  }

  /** A merged packet goes up: the application is woken, the sender hears of it. */
  private deliver(index: number): void {
    const { options } = this;
    const flow = this.flows[index]!;
    const core = this.cores[flow.core]!;
    flow.merged = 0;
    core.cpu.spend(options.acknowledgementCost);
    if (core.ring.send(core.cpu, this.acknowledgementFrame, options.acknowledgementBytes)) this.acknowledgements += 1;
    if (flow.waking) return;
    flow.waking = true;
    const wait = 2 * this.random.fraction() * options.turnWait * core.flows.length;
    this.events.schedule(picoseconds(Math.round(core.cpu.now + wait)), this, WAKE, index);
  }

  private read(cpu: Cpu, ring: ReceiveRing, flow: Flow): void {
    flow.waking = false;
    cpu.spend(picoseconds(this.options.copyCost * flow.unreadPackets));
    flow.unreadPackets = 0;
    for (const page of flow.unread.splice(0)) ring.letGo(page);
  }
}
