import { describe, expect, test } from 'vitest';
import { Cpu } from '../../time/cpu.ts';
import { EventQueue, type EventHandler } from '../../time/eventQueue.ts';
import { picoseconds, type Picoseconds } from '../../time/picoseconds.ts';
import { DmaFence } from './fence.ts';
import { RESERVATION_USAGE, ReservationObject, usageToWaitFor, type ReservationUsage } from './reservation.ts';

/** Signals a fence at a moment of virtual time. */
class Work implements EventHandler {
  readonly fence: DmaFence;
  private readonly events: EventQueue;

  constructor(events: EventQueue, at: number, sequence = 1, context = 1) {
    this.events = events;
    this.fence = new DmaFence(context, sequence, 'work');
    events.schedule(picoseconds(at), this, 0);
  }

  handleEvent(): void {
    this.fence.signal(this.events.now);
  }
}

function reserved(fence: DmaFence, usage: ReservationUsage): ReservationObject {
  const reservation = new ReservationObject('buffer');
  reservation.withLock(() => reservation.addFence(fence, usage));
  return reservation;
}

describe('reservation object (drivers/dma-buf/dma-resv.c)', () => {
  test.each([
    ['kernel', ['kernel']],
    ['write', ['kernel', 'write']],
    ['read', ['kernel', 'write', 'read']],
    ['bookkeep', ['kernel', 'write', 'read', 'bookkeep']],
  ] as const)('who asks for %s waits for %j', (asked, expected) => {
    const names = ['kernel', 'write', 'read', 'bookkeep'] as const;
    const waitsFor = names.filter(
      (name) => !reserved(new DmaFence(1, 1, name), RESERVATION_USAGE[name]).testSignalled(RESERVATION_USAGE[asked]),
    );
    expect(waitsFor).toEqual(expected);
  });

  test('a writer waits for readers, a reader only for writers', () => {
    expect(usageToWaitFor(true)).toBe(RESERVATION_USAGE.read);
    expect(usageToWaitFor(false)).toBe(RESERVATION_USAGE.write);
  });

  test('a wait lets events pass and brings the CPU to the last signal', () => {
    const events = new EventQueue();
    const cpu = new Cpu(0);
    const reservation = new ReservationObject('buffer');
    const first = new Work(events, 500, 1, 1);
    const second = new Work(events, 900, 1, 2);
    reservation.withLock(() => {
      reservation.addFence(first.fence, RESERVATION_USAGE.read);
      reservation.addFence(second.fence, RESERVATION_USAGE.bookkeep);
    });
    expect(reservation.wait(cpu, RESERVATION_USAGE.read, events)).toBe('signalled');
    expect(cpu.now).toBe(500);
    expect(reservation.wait(cpu, RESERVATION_USAGE.bookkeep, events)).toBe('signalled');
    expect(cpu.now).toBe(900);
  });

  test('a wait takes no time when the fences were signalled before it', () => {
    const events = new EventQueue();
    const cpu = new Cpu(0);
    const { fence } = new Work(events, 500);
    const reservation = reserved(fence, RESERVATION_USAGE.write);
    events.step();
    cpu.waitUntil(picoseconds(2000));
    expect(reservation.wait(cpu, RESERVATION_USAGE.bookkeep, events)).toBe('signalled');
    expect(cpu.now).toBe(2000);
  });

  test('a wait gives up after its time', () => {
    const events = new EventQueue();
    const cpu = new Cpu(0);
    const reservation = reserved(new Work(events, 5000).fence, RESERVATION_USAGE.write);
    expect(reservation.wait(cpu, RESERVATION_USAGE.write, events, picoseconds(1000))).toBe('timed_out');
    expect(cpu.now).toBe(1000);
  });

  test('a wait that nothing can end says so', () => {
    const reservation = reserved(new DmaFence(1, 1, 'forgotten'), RESERVATION_USAGE.write);
    expect(reservation.wait(new Cpu(0), RESERVATION_USAGE.write, new EventQueue())).toBe('would_wait');
    expect(reservation.wait(new Cpu(0), RESERVATION_USAGE.write, null)).toBe('would_wait');
  });

  test('a later fence of a timeline takes the place of the earlier one, unless that weighs more', () => {
    const reservation = new ReservationObject('buffer');
    const points = [1, 2, 3].map((sequence) => new DmaFence(7, sequence, `point ${String(sequence)}`));
    reservation.withLock(() => {
      reservation.addFence(points[0]!, RESERVATION_USAGE.read);
      reservation.addFence(points[1]!, RESERVATION_USAGE.read);
      reservation.addFence(points[2]!, RESERVATION_USAGE.bookkeep);
    });
    expect(reservation.pending(RESERVATION_USAGE.bookkeep)).toEqual([points[1], points[2]]);
  });

  test('a fence is signalled once, and remembers when and with what', () => {
    const fence = new DmaFence(1, 1, 'work');
    expect(fence.signal(10 as Picoseconds, -5)).toBe(true);
    expect(fence.signal(20 as Picoseconds)).toBe(false);
    expect(fence).toMatchObject({ signalledAt: 10, error: -5 });
  });

  test('adding a fence takes the lock, and taking the lock twice is a deadlock', () => {
    const reservation = new ReservationObject('frame buffer');
    expect(() => reservation.addFence(new DmaFence(1, 1, 'work'), 0)).toThrow('without the reservation lock');
    expect(() => reservation.withLock(() => reservation.lock())).toThrow(/frame buffer is taken twice/);
    expect(reservation.locked).toBe(false);
  });
});
