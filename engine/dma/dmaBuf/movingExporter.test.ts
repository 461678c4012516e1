import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EventQueue } from '../../time/eventQueue.ts';
import { picoseconds, type Picoseconds } from '../../time/picoseconds.ts';
import { DMA_BIDIRECTIONAL } from '../attributes.ts';
import { EBUSY, EDEADLK, ENOMEM } from '../errno.ts';
import type { ScatterList } from '../scatterList.ts';
import type { DmaBufAttachment, DmaBufImporter } from './dmaBuf.ts';
import { DmaFence } from './fence.ts';
import { MovingExporter, type Placement } from './movingExporter.ts';
import type { PhysicalRange } from './physicalRange.ts';
import { RangeMapping } from './rangeMapping.ts';
import { RESERVATION_USAGE } from './reservation.ts';
import {
  BRIDGE_PEER,
  BRIDGE_WINDOW,
  FAR_PEER,
  FAR_WINDOW,
  PeerMachine,
  SWITCH_PEER,
  SWITCH_WINDOW,
} from './testPeers.ts';

const PAGE = 4096;
const PAGES = 8;

interface Options {
  readonly peer?: 'switch' | 'bridge' | 'far';
  readonly events?: EventQueue;
  readonly copyTime?: Picoseconds;
}

const PEERS = {
  switch: [SWITCH_PEER, SWITCH_WINDOW],
  bridge: [BRIDGE_PEER, BRIDGE_WINDOW],
  far: [FAR_PEER, FAR_WINDOW],
} as const;

function gpu(machine: PeerMachine, { peer = 'bridge', events, copyTime }: Options = {}): MovingExporter {
  const [provider, window] = PEERS[peer];
  return new MovingExporter({
    name: 'texture',
    pages: PAGES,
    system: machine.frames,
    local: { frames: machine.windowFrames(window), provider },
    memory: machine.memory,
    events: events ?? null,
    copyTime: copyTime ?? null,
  });
}

/** An importer of ranges: its device has one page list, made anew after each invalidation. */
class RangeImporter implements DmaBufImporter {
  readonly allowPeer2peer: boolean;
  readonly invalidatesSynchronously = true;
  readonly mapping: RangeMapping;
  private readonly machine: PeerMachine;
  private ranges: readonly PhysicalRange[] | null = null;
  invalidations = 0;

  constructor(machine: PeerMachine, allowPeer2peer = true) {
    this.machine = machine;
    this.allowPeer2peer = allowPeer2peer;
    this.mapping = new RangeMapping(machine.api, machine.device, DMA_BIDIRECTIONAL);
  }

  map(attachment: DmaBufAttachment): number {
    const { buffer } = attachment;
    return buffer.reservation.withLock(() => {
      const ranges = buffer.getRanges(this.machine.cpu, attachment);
      if (typeof ranges === 'number') return ranges;
      const error = this.mapping.map(this.machine.cpu, ranges);
      if (error === 0) this.ranges = ranges;
      else buffer.putRanges(this.machine.cpu, attachment, ranges);
      return error;
    });
  }

  invalidateMappings(cpu: PeerMachine['cpu'], attachment: DmaBufAttachment): void {
    this.invalidations += 1;
    if (this.ranges === null) return;
    this.mapping.unmap(cpu);
    attachment.buffer.putRanges(cpu, attachment, this.ranges);
    this.ranges = null;
  }

  letGo(attachment: DmaBufAttachment): void {
    attachment.buffer.reservation.withLock(() => {
      this.invalidateMappings(this.machine.cpu, attachment);
    });
  }
}

function attachTo(exporter: MovingExporter, machine: PeerMachine, importer: DmaBufImporter | null): DmaBufAttachment {
  const attachment = exporter.buffer.attach(machine.api, machine.device, importer);
  if (typeof attachment === 'number') throw new Error('refused');
  return attachment;
}

function writeMarks(exporter: MovingExporter, machine: PeerMachine): void {
  for (let page = 0; page < PAGES; page += 1)
    machine.memory.writeWord(exporter.physOf(page * PAGE) / PAGE, 5, 1000 + page);
}

function marksAt(machine: PeerMachine, pages: readonly number[]): number[] {
  return pages.map((page) => machine.memory.readWord(page, 5));
}

function pagesOf(exporter: MovingExporter): number[] {
  return Array.from({ length: PAGES }, (_, page) => exporter.physOf(page * PAGE) / PAGE);
}

const MARKS = Array.from({ length: PAGES }, (_, page) => 1000 + page);

describe('a buffer that moves under its importers (amdgpu_dma_buf.c, ttm)', () => {
  test('bytes stay with the buffer, and pages of the past are freed', () => {
    const machine = new PeerMachine();
    const free = machine.frames.freePages;
    const exporter = gpu(machine);
    writeMarks(exporter, machine);
    expect(exporter.migrate(machine.cpu, 2, 3, 'local')).toBe(0);
    expect(marksAt(machine, pagesOf(exporter))).toEqual(MARKS);
    expect(pagesOf(exporter).map((page) => page >= BRIDGE_WINDOW / PAGE && page < BRIDGE_WINDOW / PAGE + 64)).toEqual([
      false,
      false,
      true,
      true,
      true,
      false,
      false,
      false,
    ]);
    expect(free - machine.frames.freePages).toBe(PAGES - 3);
    exporter.buffer.release(machine.cpu);
    expect(machine.frames.freePages).toBe(free);
  });

  test('an importer of ranges maps any mixture, and again after each move, with nothing left of the old one', () => {
    const machine = new PeerMachine();
    const exporter = gpu(machine, { peer: 'switch' });
    const importer = new RangeImporter(machine);
    const attachment = attachTo(exporter, machine, importer);
    expect(importer.map(attachment)).toBe(0);
    const before = importer.mapping.addressOf(0);
    expect(exporter.migrate(machine.cpu, 0, 4, 'local')).toBe(0);
    expect([importer.invalidations, machine.deviceSees(before)]).toEqual([1, null]);
    expect(importer.map(attachment)).toBe(0);
    expect(importer.mapping.iovaBytes).toBe(4 * PAGE);
    expect(importer.mapping.addressOf(0)).toBe(exporter.physOf(0) + SWITCH_PEER.busOffset);
    expect(machine.deviceSees(importer.mapping.addressOf(4 * PAGE))).toBe(exporter.physOf(4 * PAGE) / PAGE);
    importer.letGo(attachment);
    exporter.buffer.detach(attachment);
  });

  test('an importer that does not reach the device’s memory finds the buffer in RAM', () => {
    const machine = new PeerMachine();
    for (const [peer, allowed] of [
      ['bridge', false],
      ['far', true],
    ] as const) {
      const exporter = gpu(machine, { peer });
      exporter.migrate(machine.cpu, 0, PAGES, 'local');
      const importer = new RangeImporter(machine, allowed);
      const attachment = attachTo(exporter, machine, importer);
      expect(importer.map(attachment)).toBe(0);
      expect(exporter.placementOf(0)).toBe('system');
      importer.letGo(attachment);
    }
  });

  test('a pinned buffer stays in RAM; unpinned it moves again', () => {
    const machine = new PeerMachine();
    const exporter = gpu(machine);
    const { buffer } = exporter;
    exporter.migrate(machine.cpu, 0, 4, 'local');
    const attachment = attachTo(exporter, machine, new RangeImporter(machine));
    buffer.reservation.withLock(() => {
      expect(buffer.pin(machine.cpu, attachment)).toBe(0);
    });
    expect([exporter.placementOf(0), exporter.pinned]).toEqual(['system', true]);
    expect(exporter.migrate(machine.cpu, 0, 4, 'local')).toBe(EBUSY);
    buffer.reservation.withLock(() => {
      buffer.unpin(machine.cpu, attachment);
    });
    expect(exporter.migrate(machine.cpu, 0, 4, 'local')).toBe(0);
  });

  test('a static importer pins by mapping, and so keeps the buffer in place', () => {
    const machine = new PeerMachine();
    const exporter = gpu(machine);
    const { buffer } = exporter;
    const attachment = attachTo(exporter, machine, null);
    const list = buffer.reservation.withLock(() => buffer.mapAttachment(machine.cpu, attachment, DMA_BIDIRECTIONAL));
    expect(exporter.migrate(machine.cpu, 0, 1, 'local')).toBe(EBUSY);
    buffer.reservation.withLock(() => {
      buffer.unmapAttachment(machine.cpu, attachment, list as ScatterList, DMA_BIDIRECTIONAL);
    });
    expect(exporter.migrate(machine.cpu, 0, 1, 'local')).toBe(0);
  });

  test('a move that finds no room changes nothing and tells nobody', () => {
    const machine = new PeerMachine();
    const first = gpu(machine);
    const frames = machine.windowFrames(BRIDGE_WINDOW);
    frames.allocateContiguous(60);
    const exporter = new MovingExporter({
      name: 'large',
      pages: PAGES,
      system: machine.frames,
      local: { frames, provider: BRIDGE_PEER },
      memory: machine.memory,
      events: null,
    });
    const importer = new RangeImporter(machine);
    attachTo(exporter, machine, importer);
    expect(exporter.migrate(machine.cpu, 0, 5, 'local')).toBe(ENOMEM);
    expect([importer.invalidations, exporter.placementOf(0)]).toEqual([0, 'system']);
    first.buffer.release(machine.cpu);
  });

  test('an importer that lets go later keeps the old pages until then; its device sees them, and no page of others', () => {
    const machine = new PeerMachine();
    const exporter = gpu(machine);
    const { buffer } = exporter;
    const attachment = attachTo(exporter, machine, { allowPeer2peer: true, invalidateMappings: () => undefined });
    const list = buffer.reservation.withLock(() =>
      buffer.mapAttachment(machine.cpu, attachment, DMA_BIDIRECTIONAL),
    ) as ScatterList;
    const old = pagesOf(exporter);
    const free = machine.frames.freePages;
    exporter.migrate(machine.cpu, 0, PAGES, 'local');
    exporter.migrate(machine.cpu, 0, 2, 'system');
    expect(free - machine.frames.freePages).toBe(2);
    expect(machine.deviceSees(list.dmaAddress[0]!)).toBe(old[0]);
    buffer.reservation.withLock(() => {
      buffer.unmapAttachment(machine.cpu, attachment, list, DMA_BIDIRECTIONAL);
    });
    expect(machine.frames.freePages - free).toBe(PAGES - 2);
  });

  test('a move waits for the fences of all work, and stays undone when that can’t end', () => {
    const events = new EventQueue();
    const machine = new PeerMachine();
    const exporter = gpu(machine, { events });
    const work = new DmaFence(1, 1, 'a draw');
    exporter.buffer.reservation.withLock(() => {
      exporter.buffer.reservation.addFence(work, RESERVATION_USAGE.bookkeep);
    });
    expect(exporter.migrate(machine.cpu, 0, 1, 'local')).toBe(EDEADLK);
    expect(exporter.placementOf(0)).toBe('system');
    events.schedule(picoseconds(3000), { handleEvent: () => work.signal(events.now) }, 0);
    expect(exporter.migrate(machine.cpu, 0, 1, 'local')).toBe(0);
    expect(machine.cpu.now).toBe(3000);
  });

  test('while a copy runs its fence tells who must wait; who does not, sees memory without the bytes', () => {
    const events = new EventQueue();
    const machine = new PeerMachine();
    const exporter = gpu(machine, { events, copyTime: picoseconds(10_000) });
    writeMarks(exporter, machine);
    exporter.migrate(machine.cpu, 0, PAGES, 'local');
    const { reservation } = exporter.buffer;
    expect(reservation.testSignalled(RESERVATION_USAGE.kernel)).toBe(false);
    expect(marksAt(machine, pagesOf(exporter))).not.toEqual(MARKS);
    expect(reservation.wait(machine.cpu, RESERVATION_USAGE.kernel, events)).toBe('signalled');
    expect(machine.cpu.now).toBe(10_000);
    expect(marksAt(machine, pagesOf(exporter))).toEqual(MARKS);
  });

  test('whatever moves and maps come, bytes keep their place in the buffer and every page comes back', () => {
    const step = fc.record({
      action: fc.constantFrom('map', 'letGo', 'move'),
      first: fc.nat(PAGES - 1),
      count: fc.integer({ min: 1, max: PAGES }),
      placement: fc.constantFrom<Placement>('system', 'local'),
    });
    const peer = fc.constantFrom('switch' as const, 'bridge' as const);
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), peer, (steps, behind) => {
        const events = new EventQueue();
        const machine = new PeerMachine();
        const free = machine.frames.freePages;
        const exporter = gpu(machine, { peer: behind, events, copyTime: picoseconds(1000) });
        const { reservation } = exporter.buffer;
        writeMarks(exporter, machine);
        const importer = new RangeImporter(machine);
        const attachment = attachTo(exporter, machine, importer);
        for (const { action, first, count, placement } of steps) {
          if (action === 'letGo') importer.letGo(attachment);
          else if (action === 'move') {
            expect(exporter.migrate(machine.cpu, first, Math.min(count, PAGES - first), placement)).toBe(0);
          } else {
            importer.letGo(attachment);
            expect(importer.map(attachment)).toBe(0);
            expect(reservation.wait(machine.cpu, RESERVATION_USAGE.kernel, events)).toBe('signalled');
            const seen = pagesOf(exporter).map((_, page) => {
              const address = importer.mapping.addressOf(page * PAGE);
              const isBusAddress = behind === 'switch' && exporter.placementOf(page) === 'local';
              return isBusAddress ? (address - SWITCH_PEER.busOffset) / PAGE : machine.deviceSees(address)!;
            });
            expect(marksAt(machine, seen)).toEqual(MARKS);
          }
        }
        importer.letGo(attachment);
        expect(reservation.wait(machine.cpu, RESERVATION_USAGE.kernel, events)).toBe('signalled');
        exporter.buffer.detach(attachment);
        exporter.buffer.release(machine.cpu);
        const tables = machine.counters.get('tablePagesAllocated') - machine.counters.get('tablePagesFreed');
        expect(free - machine.frames.freePages).toBeLessThanOrEqual(tables);
      }),
      { numRuns: 40, seed: 11 },
    );
  });
});
