/** Credits and order on a link (PCI Express Base Specification 2.4.1, 2.6.1), against plain queues; and the port under both. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dmaAddr } from '../memory/addresses.ts';
import { MemoryPort } from '../memory/memoryPort.ts';
import { PhysicalMemory } from '../memory/physicalMemory.ts';
import { Counters } from '../metrics/counters.ts';
import { EventQueue } from '../time/eventQueue.ts';
import { nanoseconds, picoseconds, type Picoseconds } from '../time/picoseconds.ts';
import { CompletionOrder } from './completionOrder.ts';
import { Fabric } from './fabric.ts';
import { Fifo } from './fifo.ts';
import { PostedCredits } from './postedCredits.ts';
import type { Translator } from './translator.ts';

describe('posted credits', () => {
  it('are never exceeded, come back whole, and let nobody overtake', () => {
    const step = fc.oneof(fc.record({ send: fc.integer({ min: 0, max: 9 }) }), fc.constant({ back: true }));
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8 }), fc.array(step, { maxLength: 200 }), (total, steps) => {
        const credits = new PostedCredits(total);
        const sizes: number[] = [];
        const sent: number[] = [];
        const outstanding: number[] = [];
        const drain = (): void => {
          for (let next = credits.next((at) => sizes[at]!); next >= 0; next = credits.next((at) => sizes[at]!)) {
            sent.push(next);
            outstanding.push(next);
          }
        };
        for (const one of steps) {
          if ('send' in one) {
            const index = sizes.push(one.send) - 1;
            if (credits.send(index, one.send)) {
              sent.push(index);
              outstanding.push(index);
            }
          } else {
            const done = outstanding.shift();
            if (done !== undefined) credits.giveBack(sizes[done]!);
            drain();
          }
          const held = outstanding.reduce((sum, index) => sum + Math.min(sizes[index]!, total), 0);
          expect(held).toBeLessThanOrEqual(total);
          expect(credits.free).toBe(total - held);
        }
        while (outstanding.length > 0) {
          credits.giveBack(sizes[outstanding.shift()!]!);
          drain();
        }
        expect(sent).toEqual(sizes.map((_, index) => index));
        expect(credits.free).toBe(total);
      }),
      { seed: 9, numRuns: 300 },
    );
  });
});

describe('ordered completions', () => {
  it('leave as their requests came, each as soon as it may', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(6), { maxLength: 60 }), fc.infiniteStream(fc.nat(100)), (operations, choice) => {
        const order = new CompletionOrder();
        for (const operation of operations) order.arrived(operation);
        const left: number[] = [];
        const waiting = [...operations];
        const came: number[] = [];
        while (waiting.length > 0) {
          const [operation] = waiting.splice(choice.next().value % waiting.length, 1);
          order.answered(operation!);
          came.push(operation!);
          for (let next = order.next(); next >= 0; next = order.next()) left.push(next);
          // whatever may leave has left: the next one in order has not come as often as it stands before
          const next = operations[left.length];
          const needed = operations.slice(0, left.length + 1).filter((one) => one === next).length;
          if (next !== undefined) expect(came.filter((one) => one === next).length).toBeLessThan(needed);
        }
        expect(left).toEqual(operations);
      }),
      { seed: 9, numRuns: 300 },
    );
  });

  it('stand in a queue that grows', () => {
    const fifo = new Fifo();
    const naive: number[] = [];
    for (let step = 0; step < 1000; step += 1) {
      fifo.push(step);
      naive.push(step);
      if (step % 3 === 1) expect(fifo.shift()).toBe(naive.shift());
      expect([fifo.length, fifo.first()]).toEqual([naive.length, naive[0]]);
    }
  });
});

/** Pages as they are, some of them after a wait. */
class Waiting implements Translator {
  physPage = 0;
  readyAt: Picoseconds = picoseconds(0);

  translate(_source: number, page: number, _write: boolean, _accesses: number, at: Picoseconds): boolean {
    this.physPage = page;
    this.readyAt = picoseconds(at + (page % 3 === 0 ? nanoseconds(300) : 0));
    return true;
  }
}

describe('a port with credits, ordered completions and a shared way to memory', () => {
  const request = fc.record({
    write: fc.boolean(),
    page: fc.nat(15),
    offset: fc.nat(4095),
    length: fc.integer({ min: 1, max: 9000 }),
  });

  it('ends every request once, keeps writes in order, and loses no byte', () => {
    fc.assert(
      fc.property(
        fc.array(request, { minLength: 1, maxLength: 40 }),
        fc.integer({ min: 1, max: 20 }),
        (requests, credits) => {
          const events = new EventQueue();
          const memory = new PhysicalMemory(2 ** 24);
          const none = nanoseconds(0);
          const fabric = new Fabric({
            events,
            memory,
            translator: new Waiting(),
            counters: new Counters(),
            costs: { rootComplex: nanoseconds(20), memoryRead: nanoseconds(10), mmioWrite: none },
            postedCredits: credits,
            orderedCompletions: true,
            memoryPort: new MemoryPort({ walk: none, dataRead: nanoseconds(5), dataReadPerLine: nanoseconds(2) }),
          });
          const link = {
            generation: 3,
            lanes: 8,
            maxPayloadSize: 256,
            maxReadRequestSize: 512,
            propagation: nanoseconds(50),
          };
          const port = fabric.addRootPort({ ...link, completionBytes: 64 }).addFunction(0x100);
          const image = new Uint8Array(2 ** 17);
          const ended: number[] = [];
          const interrupts: number[] = [];
          const handler = {
            handleEvent: (kind: number, index: number) => (kind === 0 ? ended : interrupts).push(index),
          };
          for (const [index, { write, page, offset, length }] of requests.entries()) {
            const address = page * 4096 + offset;
            if (write) {
              const bytes = Uint8Array.from({ length }, (_, at) => index * 31 + at);
              image.set(bytes, address);
              port.write(dmaAddr(address), length, bytes, 0, handler, 0, index);
            } else {
              port.read(dmaAddr(address), length, new Uint8Array(length), 0, handler, 0, index);
            }
          }
          port.raiseInterrupt(handler, 1, requests.length);
          while (events.step());
          expect([...ended].sort((left, right) => left - right)).toEqual(requests.map((_, index) => index));
          const writes = ended.filter((index) => requests[index]!.write);
          expect(writes).toEqual([...writes].sort((left, right) => left - right));
          expect(interrupts).toEqual([requests.length]);
          const stored = new Uint8Array(image.length);
          memory.readBytes(0, stored, 0, stored.length);
          expect(Buffer.compare(stored, image)).toBe(0);
        },
      ),
      { seed: 9, numRuns: 120 },
    );
  });
});
