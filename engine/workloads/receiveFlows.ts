/**
 * Receiving at the rate that the host allows: flows whose applications run on a few cores, each core with a ring of its own to which
 * its flows are steered (Linux: NAPI with its budget of 64 packets, GRO, aRFS). A poll takes packets and merges those of a flow that
 * follow each other; at its end, or when a merged packet is full, it goes to the socket. Data in order wake the application, which has
 * its turn when no poll is under way and reads all that has come, up to the size of its buffer. What comes after a packet that was lost
 * is held until that has been sent again, and acknowledged at once (RFC 5681 section 4.2).
 * Acknowledgements in order follow Linux (`__tcp_ack_snd_check`, `tcp_cleanup_rbuf`): at once for a first merged packet; what comes
 * behind it before the application has read shrinks the window, and is acknowledged at the end of the next read.
 * Leaves out: the application's own work beyond the copy, other processes, delayed acknowledgements of single packets.
 */
import type { RingPage, ReceiveRing } from '../drivers/receiveRing.ts';
import { numberOf, orderOf, SEQUENCE_BYTES } from '../memory/packetNumbers.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import type { PhysicalMemory } from '../memory/physicalMemory.ts';
import type { Cpu } from '../time/cpu.ts';
import type { EventHandler, EventQueue } from '../time/eventQueue.ts';
import { picoseconds, type Picoseconds } from '../time/picoseconds.ts';

/** The other end of the cable, as the receiver's acknowledgements reach it (devices/senders.ts). */
interface AcknowledgedSenders {
  acknowledge(
    at: Picoseconds,
    index: number,
    packets: number,
    newest: number,
    missing: number,
    beyond: number,
    limit: number,
  ): void;
}

export interface ReceiveFlowsOptions {
  readonly flows: number;
  /** NAPI's weight. */
  readonly pollBudget: number;
  /** Packets that GRO merges at most, and that an application reads at most before it sleeps again. */
  readonly mergedPackets: number;
  readonly readPackets: number;
  readonly receiveWindow: number;
  readonly acknowledgementBytes: number;
  /** What the stack takes for a packet, and for a merged one; the application's copy of a packet; waking it; an acknowledgement. */
  readonly packetCost: Picoseconds;
  readonly mergedCost: Picoseconds;
  readonly copyCost: Picoseconds;
  readonly wakeCost: Picoseconds;
  readonly acknowledgementCost: Picoseconds;
}

/** Kinds: an interrupt's is 0 (the adapter's); the argument is the core. */
const INTERRUPT = 0;
const STEP = 1;

class Flow {
  readonly core: number;
  /** Pages of packets that came in order, and of those that came behind a hole by their number. */
  readonly unread: (readonly RingPage[])[] = [];
  readonly behindHole = new Map<number, readonly RingPage[]>();
  /** The number of the first packet that has not come, of the packet that came last, and of the first that was not read. */
  expected = 0;
  last = -1;
  read = 0;
  merged = 0;
  /** Since the last acknowledgement: packets that have come; of all, the one that was sent last. */
  unacknowledged = 0;
  newest = -1;
  waking = false;

  constructor(core: number) {
    this.core = core;
  }
}

class Core {
  readonly cpu: Cpu;
  readonly ring: ReceiveRing;
  /** Flows that a poll has touched, and flows whose application may run. */
  readonly touched: number[] = [];
  readonly runnable: number[] = [];
  /** The flow whose application has its turn, or -1, and packets that it has yet to read. */
  reading = -1;
  left = 0;
  polling = false;
  /** An interrupt has come; a poll used its budget up, so that another one follows, but applications go before it. */
  interrupted = false;
  pollAgain = false;
  stepping = false;

  constructor(cpu: Cpu, ring: ReceiveRing) {
    this.cpu = cpu;
    this.ring = ring;
  }
}

export class ReceiveFlows implements EventHandler {
  /** Packets that the stack has taken; frames sent in return. */
  packets = 0;
  acknowledgements = 0;
  private readonly options: ReceiveFlowsOptions;
  private readonly events: EventQueue;
  private readonly memory: PhysicalMemory;
  private readonly senders: AcknowledgedSenders;
  private readonly flows: Flow[] = [];
  private readonly cores: Core[] = [];
  private readonly acknowledgementFrame: number;
  private readonly header = new Uint8Array(SEQUENCE_BYTES);
  private readonly headerView = new DataView(this.header.buffer);

  /** `acknowledgementFrame`: physical address of what every acknowledgement consists of. */
  constructor(
    events: EventQueue,
    memory: PhysicalMemory,
    senders: AcknowledgedSenders,
    options: ReceiveFlowsOptions,
    acknowledgementFrame: number,
  ) {
    this.events = events;
    this.memory = memory;
    this.senders = senders;
    this.options = options;
    this.acknowledgementFrame = acknowledgementFrame;
  }

  /** Fills the ring of every core; then packets may come. */
  start(rings: readonly ReceiveRing[], cpus: readonly Cpu[]): void {
    for (const [index, ring] of rings.entries()) {
      const cpu = cpus[index]!;
      this.cores.push(new Core(cpu, ring));
      ring.fill(cpu);
    }
    for (let flow = 0; flow < this.options.flows; flow += 1) {
      this.flows.push(new Flow(flow % rings.length));
    }
  }

  /** Lets everything go that is still held behind holes. */
  stop(): void {
    for (const flow of this.flows) {
      for (const pages of flow.behindHole.values()) this.letGo(flow, pages);
      flow.behindHole.clear();
    }
  }

  /** The stack's side of ReceiveRing's `take`. */
  take(cpu: Cpu, index: number, pages: readonly RingPage[], offset: number): void {
    const { options } = this;
    const flow = this.flows[index]!;
    cpu.spend(options.packetCost);
    this.packets += 1;
    this.memory.readBytes(pages[0]!.frame * PAGE_SIZE + offset, this.header, 0, SEQUENCE_BYTES);
    const number = numberOf(this.headerView);
    flow.newest = Math.max(flow.newest, orderOf(this.headerView));
    if (flow.merged > 0 && number !== flow.last + 1) this.deliver(index);
    flow.last = number;
    if (flow.merged === 0) this.cores[flow.core]!.touched.push(index);
    flow.merged += 1;
    flow.unacknowledged += 1;
    flow.behindHole.set(number, pages);
    if (flow.merged >= options.mergedPackets) this.deliver(index);
  }

  handleEvent(kind: number, argument: number): void {
    const core = this.cores[argument]!;
    if (kind === INTERRUPT) {
      core.interrupted = true;
      this.run(argument);
    } else if (kind === STEP) {
      core.stepping = false;
      this.step(argument, core);
    }
  }

  /** One piece of work of a core. */
  private step(index: number, core: Core): void {
    const { cpu, ring } = core;
    cpu.begin(this.events.now);
    const sleeps = core.reading < 0 && core.runnable.length === 0;
    if (!core.polling && (core.interrupted || (core.pollAgain && sleeps))) {
      core.polling = true;
      core.interrupted = false;
      core.pollAgain = false;
      ring.beginPoll(this.options.pollBudget);
    }
    if (core.polling) {
      if (!ring.step(cpu)) this.endPoll(core);
    } else if (core.reading >= 0) this.read(core);
    else if (core.runnable.length > 0) this.wake(core);
    else return;
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
    core.pollAgain = core.ring.endPoll();
  }

  /** A merged packet goes to its socket. */
  private deliver(index: number): void {
    const flow = this.flows[index]!;
    const { cpu, runnable } = this.cores[flow.core]!;
    flow.merged = 0;
    cpu.spend(this.options.mergedCost);
    const before = flow.expected;
    for (;;) {
      const pages = flow.behindHole.get(flow.expected);
      if (pages === undefined) break;
      flow.behindHole.delete(flow.expected);
      flow.unread.push(pages);
      flow.expected += 1;
    }
    const first = flow.unread.length === flow.expected - before && flow.unacknowledged > 1;
    if (flow.behindHole.size > 0 || first) this.acknowledge(index, flow);
    if (flow.expected === before || flow.waking) return;
    flow.waking = true;
    runnable.push(index);
  }

  private wake(core: Core): void {
    core.reading = core.runnable.shift()!;
    core.left = this.options.readPackets;
    core.cpu.spend(this.options.wakeCost);
  }

  /** The application reads a packet; at the end of what there is, or of its buffer, the sender hears of it. */
  private read(core: Core): void {
    const index = core.reading;
    const flow = this.flows[index]!;
    const pages = flow.unread.shift();
    if (pages !== undefined) {
      core.cpu.spend(this.options.copyCost);
      this.letGo(flow, pages);
      flow.read += 1;
      core.left -= 1;
    }
    if (core.left > 0 && flow.unread.length > 0) return;
    core.reading = -1;
    flow.waking = flow.unread.length > 0;
    if (flow.waking) core.runnable.push(index);
    if (flow.unacknowledged > 0) this.acknowledge(index, flow);
  }

  private acknowledge(index: number, flow: Flow): void {
    const { receiveWindow, acknowledgementCost, acknowledgementBytes } = this.options;
    const { cpu, ring } = this.cores[flow.core]!;
    cpu.spend(acknowledgementCost);
    if (!ring.send(cpu, this.acknowledgementFrame, acknowledgementBytes)) return;
    this.acknowledgements += 1;
    this.senders.acknowledge(
      cpu.now,
      index,
      flow.unacknowledged,
      flow.newest,
      flow.expected,
      flow.behindHole.size,
      flow.read + receiveWindow,
    );
    flow.unacknowledged = 0;
  }

  private letGo(flow: Flow, pages: readonly RingPage[]): void {
    const { ring } = this.cores[flow.core]!;
    for (const page of pages) ring.letGo(page);
  }
}
