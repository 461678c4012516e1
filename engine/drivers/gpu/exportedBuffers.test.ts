/**
 * Buffers that a GPU's driver exports, used by a NIC all the time while they move (Linux Documentation/driver-api/dma-buf.rst, "Dynamic
 * DMA buffer sharing"; drivers/dma-buf/dma-buf.c `dma_buf_invalidate_mappings`). Every word that the NIC reads or writes is compared with
 * a plain array; and where one step of a move is left out, that comparison must fail.
 */
import { describe, expect, test } from 'vitest';
import { DMA_BIDIRECTIONAL } from '../../dma/attributes.ts';
import type { DmaBufAttachment, DmaBufImporter } from '../../dma/dmaBuf/dmaBuf.ts';
import { DmaFence } from '../../dma/dmaBuf/fence.ts';
import type { MovingExporter } from '../../dma/dmaBuf/movingExporter.ts';
import type { PhysicalRange } from '../../dma/dmaBuf/physicalRange.ts';
import { RangeMapping } from '../../dma/dmaBuf/rangeMapping.ts';
import { RESERVATION_USAGE, type ReservationUsage } from '../../dma/dmaBuf/reservation.ts';
import { EBUSY, ENODEV, EOPNOTSUPP } from '../../dma/errno.ts';
import { dmaAddr, PAGE_SIZE } from '../../memory/addresses.ts';
import { ACS_REQUEST_REDIRECT } from '../../pcie/portTree.ts';
import type { Cpu } from '../../time/cpu.ts';
import type { EventHandler } from '../../time/eventQueue.ts';
import { RandomStream } from '../../time/random.ts';
import { picoseconds } from '../../time/picoseconds.ts';
import { GpuMachine, SYSTEM_PAGES, type GpuMachineOptions } from './testGpuMachine.ts';

const PAGES = 8;
const GPU_PAGES = 64;
/** What a neighbour fills its pages with, which nobody else may ever see. */
const SECRET = 0xeeee_eeee;
const SPECULATIVE_READS = 24;

const ACCESS = 0;
const SPECULATIVE = 1;

interface Access {
  readonly fence: DmaFence;
  readonly words: Uint32Array;
  readonly write: boolean;
  readonly value: number;
}

const wordsOf = (bytes: Uint8Array): Uint32Array => new Uint32Array(bytes.buffer);

/**
 * A NIC that reads or writes all pages of a buffer at once, each under a fence. After an invalidation it goes on reading ahead for a while, as
 * it may, throws that away, and then lets go; the next access maps the buffer anew.
 */
class BusyNic implements DmaBufImporter, EventHandler {
  readonly allowPeer2peer = true;
  readonly attachment: DmaBufAttachment;
  readonly expected = Array.from({ length: PAGES }, () => 0);
  wrong = 0;
  refused = 0;
  accesses = 0;
  remaps = 0;
  private readonly machine: GpuMachine;
  private readonly exporter: MovingExporter;
  private readonly random: RandomStream;
  private readonly mapping: RangeMapping;
  private readonly busy = new Map<number, Access>();
  private readonly ahead = new Uint8Array(PAGE_SIZE);
  private ranges: readonly PhysicalRange[] | null = null;
  private invalid = false;
  private readsAhead = 0;
  private sequence = 0;

  constructor(machine: GpuMachine, exporter: MovingExporter, random: RandomStream) {
    this.machine = machine;
    this.exporter = exporter;
    this.random = random;
    const { api } = machine.machine;
    this.mapping = new RangeMapping(api, machine.nicDevice, DMA_BIDIRECTIONAL);
    const attachment = exporter.buffer.attach(api, machine.nicDevice, this);
    if (typeof attachment === 'number') throw new Error('refused');
    this.attachment = attachment;
  }

  invalidateMappings(): void {
    if (this.ranges === null || this.invalid) return;
    this.invalid = true;
    this.readsAhead = this.random.below(2) * SPECULATIVE_READS;
    this.readAhead();
  }

  /** Begins an access to each page that has none, unless the buffer is still mapped where it was. */
  begin(): void {
    if (this.invalid) return;
    const { reservation, events } = this.exporter.buffer;
    const { cpu } = this.machine.machine;
    reservation.withLock(() => {
      if (this.ranges === null) this.map(cpu);
      // a dynamic importer waits for the kernel's copies itself
      reservation.wait(cpu, RESERVATION_USAGE.kernel, events);
      for (let page = 0; page < PAGES; page += 1) if (!this.busy.has(page)) this.start(page);
    });
  }

  handleEvent(kind: number, page: number): void {
    if (kind === ACCESS) this.ended(page);
    else {
      if (wordsOf(this.ahead).includes(SECRET)) this.wrong += 1;
      this.readAhead();
    }
  }

  detach(): void {
    this.invalidateMappings();
    this.machine.settle();
    this.exporter.buffer.detach(this.attachment);
  }

  /** Pages of the buffer, where it lies, that do not hold what was written last. */
  check(): number {
    const { exporter, machine } = this;
    const wrong = this.expected.filter((value, page) =>
      wordsOf(machine.machine.bytes(exporter.physOf(page * PAGE_SIZE), PAGE_SIZE)).some((word) => word !== value),
    );
    return wrong.length;
  }

  private map(cpu: Cpu): void {
    const ranges = this.exporter.buffer.getRanges(cpu, this.attachment);
    if (typeof ranges === 'number' || this.mapping.map(cpu, ranges) !== 0) throw new Error('not mapped');
    this.ranges = ranges;
    this.remaps += 1;
  }

  private start(page: number): void {
    const write = this.random.below(2) === 0;
    const value = this.random.below(2 ** 31);
    const bytes = new Uint8Array(PAGE_SIZE);
    if (write) wordsOf(bytes).fill(value);
    this.sequence += 1;
    const fence = new DmaFence(100 + page, this.sequence, `access ${String(this.sequence)}`);
    this.exporter.buffer.reservation.addFence(fence, RESERVATION_USAGE.bookkeep);
    this.busy.set(page, { fence, words: wordsOf(bytes), write, value });
    const address = dmaAddr(this.mapping.addressOf(page * PAGE_SIZE));
    const { nicPort } = this.machine;
    if (write) nicPort.write(address, PAGE_SIZE, bytes, 0, this, ACCESS, page);
    else nicPort.read(address, PAGE_SIZE, bytes, 0, this, ACCESS, page);
  }

  private ended(page: number): void {
    const { fence, words, write, value } = this.busy.get(page)!;
    this.busy.delete(page);
    this.accesses += 1;
    if (this.machine.nicPort.lastStatus !== 0) this.refused += 1;
    if (write) this.expected[page] = value;
    else if (words.some((word) => word !== this.expected[page])) this.wrong += 1;
    fence.signal(this.machine.events.now);
  }

  private readAhead(): void {
    if (this.readsAhead > 0 || this.busy.size > 0) {
      this.readsAhead -= 1;
      const address = dmaAddr(this.mapping.addressOf(this.random.below(PAGES) * PAGE_SIZE));
      this.machine.nicPort.read(address, PAGE_SIZE, this.ahead, 0, this, SPECULATIVE, 0);
      return;
    }
    const { reservation } = this.exporter.buffer;
    const { cpu } = this.machine.machine;
    const letGo = (): void => {
      this.mapping.unmap(cpu);
      this.exporter.buffer.putRanges(cpu, this.attachment, this.ranges!);
      this.ranges = null;
      this.invalid = false;
    };
    if (reservation.locked) letGo();
    else reservation.withLock(letGo);
  }
}

type Broken = (exporter: MovingExporter) => void;

/** Leaves out all waits for fences of a usage. */
function withoutWait(left: ReservationUsage): Broken {
  return ({ buffer: { reservation } }) => {
    const wait = reservation.wait.bind(reservation);
    reservation.wait = (cpu, usage, events) => (usage === left ? 'signalled' : wait(cpu, usage, events));
  };
}

const BROKEN: Readonly<Record<string, Broken>> = {
  'the first wait, for the fences': withoutWait(RESERVATION_USAGE.bookkeep),
  'the second wait, until nobody maps the old pages': (exporter) => {
    const give = exporter.getRanges.bind(exporter);
    const take = exporter.putRanges.bind(exporter);
    exporter.getRanges = (cpu, attachment) => {
      const ranges = give(cpu, attachment);
      if (typeof ranges !== 'number') take(cpu, attachment, ranges);
      return ranges;
    };
    exporter.putRanges = () => undefined;
  },
  'the invalidation': ({ buffer }) => {
    buffer.invalidateMappings = () => undefined;
  },
  'the importer’s wait for the copy': withoutWait(RESERVATION_USAGE.kernel),
};

/** A neighbour that takes the pages that others leave, and finds out whether somebody writes to them. */
class Neighbour {
  lost = 0;
  private readonly machine: GpuMachine;
  private readonly pages: number[] = [];

  constructor(machine: GpuMachine) {
    this.machine = machine;
  }

  take(count: number): void {
    const { driver, machine } = this.machine;
    for (let taken = 0; taken < count && driver.blocks.freePages > PAGES; taken += 1) {
      const page = driver.blocks.allocatePage();
      machine.fill(page * PAGE_SIZE, PAGE_SIZE, SECRET & 0xff);
      this.pages.push(page);
    }
  }

  leave(): void {
    for (const page of this.pages.splice(0)) {
      const words = wordsOf(this.machine.machine.bytes(page * PAGE_SIZE, PAGE_SIZE));
      if (words.some((word) => word !== SECRET)) this.lost += 1;
      this.machine.driver.blocks.freePage(page);
    }
  }
}

/** Moves parts of a buffer to the GPU and back, again and again, while the NIC works on it. */
function moveUnderLoad(options: GpuMachineOptions, moves: number, seed: number, broken: Broken | null = null) {
  const machine = new GpuMachine({ gpuPages: GPU_PAGES, parameters: { copyOverhead: picoseconds(0) }, ...options });
  const { driver, events, systemFrames } = machine;
  const { cpu } = machine.machine;
  const exporter = driver.exportMoving('texture', PAGES);
  const random = new RandomStream(seed);
  const nic = new BusyNic(machine, exporter, random);
  const neighbour = new Neighbour(machine);
  broken?.(exporter);
  let moved = 0;
  const pass = (steps: number): void => {
    for (let step = 0; step < steps; step += 1) events.step();
  };
  for (let move = 0; move < moves; move += 1) {
    nic.begin();
    pass(random.below(40));
    const first = random.below(PAGES);
    const placement = random.below(2) === 0 ? 'local' : 'system';
    if (exporter.migrate(cpu, first, 1 + random.below(PAGES - first), placement) === 0) moved += 1;
    if (random.below(4) === 0) nic.begin();
    pass(random.below(120));
    neighbour.take(PAGES);
    pass(random.below(300));
    neighbour.leave();
  }
  machine.settle();
  const wrong = nic.wrong + nic.check() + neighbour.lost;
  nic.detach();
  exporter.buffer.release(cpu);
  const returned = [driver.blocks.freePages, systemFrames.freePages];
  return { wrong, refused: nic.refused, accesses: nic.accesses, remaps: nic.remaps, moved, returned };
}

describe('a buffer that moves between RAM and the GPU while a NIC works on it', () => {
  test.each([
    ['across the switch', {}],
    ['through the host bridge', { placement: 'two root ports' }],
    ['redirected by access control', { acs: ACS_REQUEST_REDIRECT }],
  ] as const)('loses no word and shows no stranger’s: %s', (_name, options) => {
    const { wrong, refused, accesses, remaps, moved, returned } = moveUnderLoad(options, 200, 11);
    expect({ wrong, refused, returned }).toEqual({ wrong: 0, refused: 0, returned: [GPU_PAGES, SYSTEM_PAGES] });
    expect([accesses > 500, remaps > 50, moved > 100]).toEqual([true, true, true]);
  });

  test.each(Object.keys(BROKEN))('is found wrong without %s', (step) => {
    expect(moveUnderLoad({}, 200, 11, BROKEN[step]).wrong).toBeGreaterThan(0);
  });
});

describe('buffers that stay', () => {
  test('a buffer that all importers reach is pinned in the GPU; one that some do not, in RAM', () => {
    for (const allowPeer2peer of [true, false]) {
      const machine = new GpuMachine();
      const { driver } = machine;
      const { cpu, api } = machine.machine;
      const exporter = driver.exportMoving('scanout', PAGES, { pinsLocal: true });
      const { buffer } = exporter;
      exporter.migrate(cpu, 0, PAGES, 'local');
      const attachment = buffer.attach(api, machine.nicDevice, { allowPeer2peer });
      if (typeof attachment === 'number') throw new Error('refused');
      expect(buffer.reservation.withLock(() => buffer.pin(cpu, attachment))).toBe(0);
      const placement = allowPeer2peer ? 'local' : 'system';
      expect(exporter.placementOf(0)).toBe(placement);
      expect(exporter.migrate(cpu, 0, 1, allowPeer2peer ? 'system' : 'local')).toBe(EBUSY);
      machine.settle();
      buffer.reservation.withLock(() => {
        buffer.unpin(cpu, attachment);
      });
      buffer.detach(attachment);
      buffer.release(cpu);
      expect([driver.blocks.freePages, machine.systemFrames.freePages]).toEqual([1024, SYSTEM_PAGES]);
    }
  });

  test('a buffer of GPU memory alone refuses importers that do no peer to peer, or cannot let go', () => {
    const machine = new GpuMachine();
    const { driver, nicDevice } = machine;
    const { api, cpu } = machine.machine;
    const exporter = driver.exportFixed('heap', 3);
    const { buffer } = exporter;
    const letsGo = { invalidateMappings: () => undefined };
    expect(buffer.attach(api, nicDevice, null)).toBe(EOPNOTSUPP);
    expect(buffer.attach(api, nicDevice, { allowPeer2peer: false, ...letsGo })).toBe(EOPNOTSUPP);
    expect(buffer.attach(api, nicDevice, { allowPeer2peer: true })).toBe(EOPNOTSUPP);
    const attachment = buffer.attach(api, nicDevice, { allowPeer2peer: true, ...letsGo });
    if (typeof attachment === 'number') throw new Error('refused');
    expect(exporter.setRevoked(cpu, true)).toBe(0);
    expect(buffer.reservation.withLock(() => buffer.mapAttachment(cpu, attachment, DMA_BIDIRECTIONAL))).toBe(ENODEV);
    buffer.detach(attachment);
    driver.freeFixed(cpu, exporter);
    expect(driver.blocks.freePages).toBe(1024);
    expect(driver.blocks.allocateBlock(10)).toBe(machine.gpu.memory.firstPage);
  });
});
