/**
 * Page requests from device to software and back (PCI Express Base Specification 6.0, 10.4; VT-d specification 7.4; RISC-V IOMMU
 * specification 1.0, 4.3): random devices, groups, rings that overflow, and software that is slow.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { ATS_READ, ATS_WRITE, RESPONSE_FAILURE, RESPONSE_INVALID, RESPONSE_SUCCESS } from '../../pcie/atsMessages.ts';
import { Link } from '../../pcie/link.ts';
import { Way } from '../../pcie/way.ts';
import { PageRequestInterface } from '../../pcie/pageRequestInterface.ts';
import { NO_PASID } from '../../pcie/translator.ts';
import { EventQueue } from '../../time/eventQueue.ts';
import { nanoseconds, picoseconds } from '../../time/picoseconds.ts';
import { PageRequestQueue, type PageRequestLayout, type PageRequestRecord } from './pageRequestQueue.ts';

const LINK = { generation: 3, lanes: 8, maxPayloadSize: 256, maxReadRequestSize: 512, propagation: nanoseconds(100) };

function build(layout: PageRequestLayout, records: number, allocation: number, devices = 1) {
  const events = new EventQueue();
  const memory = new PhysicalMemory(2 ** 24);
  const frames = new FrameAllocator(memory, 1, 2 ** 12 - 1);
  const queue = new PageRequestQueue({ memory, frames, events, layout, records });
  const interfaces = Array.from({ length: devices }, (_, index) => {
    const sourceId = 0x100 * (index + 1);
    const options = {
      sourceId,
      events,
      way: new Way(new Link(LINK)),
      rootComplex: nanoseconds(50),
      target: queue,
      allocation,
    };
    const device = new PageRequestInterface(options);
    queue.connect(device);
    queue.enable(sourceId);
    return device;
  });
  return { events, queue, interfaces };
}

describe.each<PageRequestLayout>(['vtd', 'riscv'])('page requests in the records of %s', (layout) => {
  it('bring device, PASID, page, access and group to software unchanged', () => {
    const { events, queue, interfaces } = build(layout, 64, 32);
    const done: number[] = [];
    interfaces[0]!.request(0xabcde, 0xf_ffff_1234, 2, ATS_READ | ATS_WRITE, (code) => done.push(code));
    interfaces[0]!.request(NO_PASID, 7, 1, ATS_READ, (code) => done.push(code));
    while (events.step());
    const records: PageRequestRecord[] = [];
    for (let record = queue.take(); record !== null; record = queue.take()) records.push(record);
    expect(records.map(({ sourceId, pasid, page, access, last }) => [sourceId, pasid, page, access, last])).toEqual([
      [0x100, 0xabcde, 0xf_ffff_1234, ATS_READ | ATS_WRITE, false],
      [0x100, 0xabcde, 0xf_ffff_1235, ATS_READ | ATS_WRITE, true],
      [0x100, NO_PASID, 7, ATS_READ, true],
    ]);
    expect(records[0]!.group).toBe(records[1]!.group);
    expect(records[2]!.group).not.toBe(records[0]!.group);
    expect(done).toEqual([]);
  });

  it('are each answered exactly once, by software or by hardware, and never more are out than were allotted', () => {
    const ask = fc.record({ device: fc.nat(2), pages: fc.integer({ min: 1, max: 6 }), wait: fc.nat(2000) });
    fc.assert(
      fc.property(
        fc.array(ask, { minLength: 1, maxLength: 60 }),
        fc.integer({ min: 6, max: 12 }),
        fc.constantFrom(4, 8, 64),
        fc.nat(3),
        (asks, allocation, records, slowness) => {
          const { events, queue, interfaces } = build(layout, records, allocation, 3);
          const answers = asks.map(() => [] as number[]);
          let served = 0;
          const work = {
            handleEvent: () => {
              for (const device of interfaces) expect(device.inUse).toBeLessThanOrEqual(allocation);
              for (let record = queue.take(); record !== null; record = queue.take()) {
                if (!record.last) continue;
                served += 1;
                queue.respond(record.sourceId, record.group, RESPONSE_SUCCESS, events.now);
              }
              queue.clearOverflow();
            },
          };
          queue.onPending = () => {
            events.schedule(picoseconds(events.now + nanoseconds(300 * slowness)), work, 0);
          };
          let at = 0;
          for (const [index, { device, pages, wait }] of asks.entries()) {
            at += nanoseconds(wait);
            const start = {
              handleEvent: () => {
                interfaces[device]!.request(NO_PASID, index * 8, pages, ATS_READ, (code) => answers[index]!.push(code));
              },
            };
            events.schedule(picoseconds(at), start, 0);
          }
          while (events.step());
          expect(answers).toEqual(asks.map(() => [RESPONSE_SUCCESS]));
          expect(served + queue.answeredByHardware).toBe(asks.length);
          for (const device of interfaces) expect([device.inUse, device.waitingGroups]).toEqual([0, 0]);
          expect(queue.pending).toBe(0);
          if (records === 64) expect(queue.dropped).toBe(0);
        },
      ),
      { seed: 5, numRuns: 150 },
    );
  });

  it('of a device that may not ask are invalid, and a failure closes the interface until it is opened again', () => {
    const { events, queue, interfaces } = build(layout, 64, 32);
    const [device] = interfaces;
    const codes: number[] = [];
    const ask = (): void => {
      device!.request(NO_PASID, 1, 1, ATS_READ, (code) => codes.push(code));
      while (events.step());
    };
    queue.disable(device!.sourceId);
    ask();
    queue.enable(device!.sourceId);
    ask();
    queue.respond(device!.sourceId, queue.take()!.group, RESPONSE_FAILURE, events.now);
    while (events.step());
    ask();
    device!.enable();
    ask();
    queue.respond(device!.sourceId, queue.take()!.group, RESPONSE_SUCCESS, events.now);
    while (events.step());
    expect(codes).toEqual([RESPONSE_INVALID, RESPONSE_FAILURE, RESPONSE_FAILURE, RESPONSE_SUCCESS]);
    queue.respond(device!.sourceId, 77, RESPONSE_SUCCESS, events.now);
    while (events.step());
    expect(device!.unexpectedGroup).toBe(true);
  });

  it('that found the ring full close it until software clears the overflow, even when there is room again', () => {
    const { events, queue, interfaces } = build(layout, 4, 32);
    const codes: (number | null)[] = [];
    const ask = (page: number): void => {
      const index = codes.push(null) - 1;
      interfaces[0]!.request(NO_PASID, page, 1, ATS_READ, (code) => (codes[index] = code));
      while (events.step());
    };
    for (let page = 0; page < 4; page += 1) ask(page);
    expect([queue.pending, queue.overflow, queue.dropped]).toEqual([3, true, 1]);
    const taken = [queue.take(), queue.take(), queue.take()];
    expect(queue.pending).toBe(0);
    ask(4);
    expect([queue.pending, queue.overflow, queue.dropped, queue.answeredByHardware]).toEqual([0, true, 2, 2]);
    queue.clearOverflow();
    ask(5);
    expect([queue.pending, queue.overflow, queue.dropped]).toEqual([1, false, 2]);
    expect([...taken, queue.take()].map((record) => record?.page)).toEqual([0, 1, 2, 5]);
    expect(codes).toEqual([null, null, null, RESPONSE_SUCCESS, RESPONSE_SUCCESS, null]);
  });
});
