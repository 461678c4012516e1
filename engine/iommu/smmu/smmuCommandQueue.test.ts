/**
 * Commands of the SMMUv3, bit by bit (Arm SMMUv3 specification IHI 0070, 4.1 to 4.7), and what they leave of the caches: by a list of
 * tagged entries for every command, and by the emulated IOMMU's own caches for those that Linux sends.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NO_DEVICES } from '../ats/deviceTlbs.ts';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { Counters } from '../../metrics/counters.ts';
import { nanoseconds, picoseconds } from '../../time/picoseconds.ts';
import { FREE_IOMMU_COSTS } from '../freeCosts.ts';
import { TaggedCache, type TaggedEntry } from '../testTaggedCache.ts';
import * as commands from './smmuCommands.ts';
import { CERROR_ILL, SmmuCommandQueue } from './smmuCommandQueue.ts';
import { NO_SUBSTREAM, SmmuEventQueue } from './smmuEvents.ts';
import { StalledTransactions, type StallEnd } from './stalledTransactions.ts';

const NOW = picoseconds(0);

function queueOver(caches: TaggedCache, costs = FREE_IOMMU_COSTS) {
  const memory = new PhysicalMemory(2 ** 26);
  const frames = new FrameAllocator(memory, 1, 2 ** 14 - 1);
  const counters = new Counters();
  const events = new SmmuEventQueue(memory, frames);
  const stalls = new StalledTransactions(2, events);
  const told: unknown[][] = [];
  const deviceTlbs = { ...NO_DEVICES, invalidate: (...what: unknown[]) => void told.push(what) };
  const queue = new SmmuCommandQueue({ memory, frames, caches, costs, counters, stalls, deviceTlbs });
  return { memory, counters, stalls, events, queue, told };
}

/** Low half first, as the specification prints a command: 127:64 and 63:0. */
function halves(batch: Uint32Array, index = 0): string[] {
  const word = index * 4;
  const half = (at: number): string =>
    ((BigInt(batch[at + 1]!) << 32n) | BigInt(batch[at]!)).toString(16).padStart(16, '0');
  return [half(word), half(word + 2)];
}

describe('encoding (4.3 to 4.7)', () => {
  const batch = new Uint32Array(8);
  const encoded = (write: () => void): string[] => {
    batch.fill(0xffff_ffff);
    write();
    return halves(batch);
  };

  test.each([
    [
      'CFGI_STE',
      () => {
        commands.configureStream(batch, 0, 0x8123, true);
      },
      '0000812300000003',
      '0000000000000001',
    ],
    [
      'CFGI_ALL',
      () => {
        commands.configureStreams(batch, 0, 0, 32);
      },
      '0000000000000004',
      '000000000000001f',
    ],
    [
      'CFGI_CD',
      () => {
        commands.configureContext(batch, 0, 0x8123, 0xabcde);
      },
      '00008123abcde005',
      '0000000000000001',
    ],
    [
      'CFGI_CD_ALL',
      () => {
        commands.configureContexts(batch, 0, 7);
      },
      '0000000700000006',
      '0000000000000000',
    ],
    [
      'TLBI_NH_ASID',
      () => {
        commands.invalidateSpace(batch, 0, commands.CMD_TLBI_NH_ASID, 0x12, 0xf00d);
      },
      'f00d001200000011',
      '0000000000000000',
    ],
    [
      'TLBI_NSNH_ALL',
      () => {
        commands.invalidateSpace(batch, 0, commands.CMD_TLBI_NSNH_ALL, 0, 0);
      },
      '0000000000000030',
      '0000000000000000',
    ],
    [
      'TLBI_NH_VA',
      () => {
        commands.invalidateAddress(batch, 0, commands.CMD_TLBI_NH_VA, 0, 5, 0xf_ffff_ffff, true);
      },
      '0005000000000012',
      '0000fffffffff001',
    ],
    [
      'TLBI_NH_VA of a range',
      () => {
        commands.invalidateAddressRange(batch, 0, commands.CMD_TLBI_NH_VA, 3, 5, 0x1_0000, true, 31, 9, 1, 3);
      },
      '000500030091e012',
      '0000000010000701',
    ],
    [
      'ATC_INV',
      () => {
        commands.invalidateDevice(batch, 0, 0x8123, 9, 0x1_0000, 16);
      },
      '0000812300009840',
      '0000000010000010',
    ],
    [
      'RESUME',
      () => {
        commands.resumeTransaction(batch, 0, 0x8123, 0x1ff, commands.RESUME_RETRY);
      },
      '0000812300001044',
      '00000000000001ff',
    ],
    [
      'STALL_TERM',
      () => {
        commands.terminateStalls(batch, 0, 0x8123);
      },
      '0000812300000045',
      '0000000000000000',
    ],
    [
      'CMD_SYNC',
      () => {
        commands.synchronize(batch, 0, 0x12_3456, 2);
      },
      '0000000200001046',
      '0000000123456000',
    ],
  ])('%s', (_name, write, low, high) => {
    expect(encoded(write)).toEqual([low, high]);
  });
});

/** Which entries a command covers, read from its bits as the specification lists them. */
function covers(low: bigint, high: bigint, { guest, space, page, table }: TaggedEntry): boolean {
  const field = (value: bigint, top: number, bottom: number): number =>
    Number((value >> BigInt(bottom)) & ((1n << BigInt(top - bottom + 1)) - 1n));
  const opcode = field(low, 7, 0);
  const ofGuest = guest === field(low, 47, 32);
  const ofSpace = ofGuest && space === field(low, 63, 48);
  const granuleBits = [12, 12, 14, 16][field(high, 11, 10)]!;
  const number = field(high, 11, 10) === 0 ? 1 : (field(low, 16, 12) + 1) * 2 ** field(low, 24, 20);
  const unit = 2 ** (granuleBits - 12);
  const named = field(high, 63, 12);
  const first = named - (named % unit);
  const inRange = page >= first && page < first + number * unit && (!table || field(high, 0, 0) === 0);
  switch (opcode) {
    case 0x30:
      return true;
    case 0x10:
    case 0x28:
    case 0x2a:
      return ofGuest;
    case 0x11:
      return ofSpace;
    case 0x12:
      return ofSpace && inRange;
    case 0x13:
      return ofGuest && inRange;
    default:
      return false;
  }
}

describe('invalidation', () => {
  const entry = fc.record({
    guest: fc.integer({ min: 0, max: 2 }),
    space: fc.integer({ min: 0, max: 2 }),
    page: fc.nat({ max: 200 }),
    table: fc.boolean(),
  });
  const command = fc.record({
    opcode: fc.constantFrom(0x10, 0x11, 0x12, 0x12, 0x13, 0x28, 0x2a, 0x30),
    vmid: fc.integer({ min: 0, max: 2 }),
    asid: fc.integer({ min: 0, max: 2 }),
    page: fc.nat({ max: 200 }),
    leaf: fc.boolean(),
    granule: fc.integer({ min: 0, max: 3 }),
    count: fc.integer({ min: 1, max: 32 }),
    scale: fc.integer({ min: 0, max: 4 }),
  });

  test('after any command nothing that it covers is left, and a command by address takes nothing else (4.4)', () => {
    fc.assert(
      fc.property(
        fc.array(entry, { maxLength: 40 }),
        fc.array(command, { minLength: 1, maxLength: 4 }),
        (held, sent) => {
          const caches = new TaggedCache();
          const { queue } = queueOver(caches);
          const batch = new Uint32Array(sent.length * 4);
          for (const [index, one] of sent.entries()) {
            const { opcode, vmid, asid, page, leaf } = one;
            const byAddress = opcode === 0x12 || opcode === 0x13 || opcode === 0x2a;
            if (!byAddress) commands.invalidateSpace(batch, index, opcode, vmid, asid);
            else if (one.granule === 0) commands.invalidateAddress(batch, index, opcode, vmid, asid, page, leaf);
            else {
              const { count, scale, granule } = one;
              commands.invalidateAddressRange(batch, index, opcode, vmid, asid, page, leaf, count, scale, granule, 0);
            }
          }
          caches.entries = [...held];
          queue.submit(batch, sent.length, NOW);
          const left = held.filter((one) =>
            sent.every((_, index) => {
              const [low, high] = halves(batch, index).map((half) => BigInt(`0x${half}`));
              return !covers(low!, high!, one);
            }),
          );
          expect(caches.entries).toEqual(left);
          expect(queue.refused).toBe(0);
        },
      ),
      { seed: 3, numRuns: 400 },
    );
  });

  test('configuration commands name a stream, a range of them, all of them, or one substream (4.3)', () => {
    const caches = new TaggedCache();
    const { queue } = queueOver(caches);
    const batch = new Uint32Array(4);
    const left = (write: () => void): string => {
      caches.devices = [6, 7, 8, 9].flatMap((sourceId) => [0, 1].map((process) => ({ sourceId, process })));
      write();
      queue.submit(batch, 1, NOW);
      return caches.devices.map(({ sourceId, process }) => `${sourceId}.${process}`).join(' ');
    };
    expect(
      left(() => {
        commands.configureStream(batch, 0, 7, true);
      }),
    ).toBe('6.0 6.1 8.0 8.1 9.0 9.1');
    expect(
      left(() => {
        commands.configureStreams(batch, 0, 7, 1);
      }),
    ).toBe('8.0 8.1 9.0 9.1');
    expect(
      left(() => {
        commands.configureStreams(batch, 0, 0, 32);
      }),
    ).toBe('');
    expect(
      left(() => {
        commands.configureContext(batch, 0, 7, 1);
      }),
    ).toBe('6.0 6.1 7.0 8.0 8.1 9.0 9.1');
    expect(
      left(() => {
        commands.configureContexts(batch, 0, 8);
      }),
    ).toBe('6.0 6.1 7.0 7.1 9.0 9.1');
  });

  test('ATC_INV goes to the device, with its naturally aligned range (4.5)', () => {
    const { queue, told } = queueOver(new TaggedCache());
    const batch = new Uint32Array(8);
    commands.invalidateDevice(batch, 0, 0x8123, NO_SUBSTREAM, 0x123, 4);
    commands.invalidateDevice(batch, 1, 0x8123, 9, 0, 52);
    queue.submit(batch, 2, NOW);
    expect(told).toEqual([
      [0x8123, NO_SUBSTREAM, 0x120, 16, false],
      [0x8123, 9, 0, 2 ** 52, false],
    ]);
  });
});

describe('the queue', () => {
  test('a command that is none raises CERROR_ILL; the driver puts a CMD_SYNC in its place, and what follows is carried out (7.1)', () => {
    const caches = new TaggedCache();
    const { queue, memory, counters } = queueOver(caches);
    caches.entries = [{ guest: 0, space: 4, page: 1, table: false }];
    const batch = new Uint32Array(12);
    batch[0] = 0xfe;
    batch[1] = 0x1234;
    commands.invalidateSpace(batch, 1, commands.CMD_TLBI_NH_ASID, 0, 4);
    // a range without a granule, and a resume that would both retry and abort
    batch[8] = commands.CMD_TLBI_NH_VA | (1 << 12);
    queue.submit(batch, 3, NOW);
    expect(CERROR_ILL).toBe(1);
    expect([queue.refused, queue.error]).toEqual([2, 0]);
    expect(caches.entries).toEqual([]);
    const opcodes = [0, 1, 2, 3].map((slot) => memory.readWord(queue.ringPage, slot * 4) & 0xff);
    expect(opcodes).toEqual([0x46, 0x11, 0x46, 0x46]);
    // the two in place of the refused ones, and the submission's own
    expect(counters.get('invalidationWaits')).toBe(3);
  });

  test('wraps around its ring, and serves CPUs one after the other', () => {
    const costs = { ...FREE_IOMMU_COSTS, invalidationWait: nanoseconds(900), invalidationService: nanoseconds(350) };
    const { queue, counters } = queueOver(new TaggedCache(), costs);
    const batch = new Uint32Array(4);
    commands.invalidateAddress(batch, 0, commands.CMD_TLBI_NH_VA, 0, 1, 5, true);
    for (let round = 0; round < 300; round += 1) queue.submit(batch, 1, NOW);
    expect(counters.get('invalidationsPage')).toBe(300);
    expect(counters.get('invalidationWaits')).toBe(300);
    const free = 300 * 350;
    expect(queue.submit(batch, 1, nanoseconds(free))).toBe(nanoseconds(free + 900));
    expect(queue.submit(batch, 1, nanoseconds(free))).toBe(nanoseconds(free + 350 + 900));
  });
});

describe('stalled transactions (3.12.2)', () => {
  const transaction = (streamId: number, ends: string[], name: string) => ({
    streamId,
    substreamId: NO_SUBSTREAM,
    iovaPage: 0xf_ffff_ffff,
    write: true,
    stage2: false,
    event: 0x10,
    ended: (end: StallEnd) => void ends.push(`${name} ${end}`),
  });

  test('wait for CMD_RESUME by their STAG; of one that nobody has, or another stream has, nothing comes', () => {
    const { queue, stalls, events } = queueOver(new TaggedCache());
    const ends: string[] = [];
    const batch = new Uint32Array(4);
    const resume = (streamId: number, stag: number, response: number): void => {
      commands.resumeTransaction(batch, 0, streamId, stag, response);
      queue.submit(batch, 1, NOW);
    };
    const first = stalls.hold(transaction(8, ends, 'first'));
    const second = stalls.hold(transaction(9, ends, 'second'));
    expect(events.take()).toEqual({
      id: 0x10,
      streamId: 8,
      substreamId: NO_SUBSTREAM,
      stag: first,
      write: true,
      stage2: false,
      iovaPage: 0xf_ffff_ffff,
    });
    expect(events.take()?.stag).toBe(second);
    expect(events.take()).toBe(null);
    resume(9, first, commands.RESUME_RETRY);
    resume(8, 17, commands.RESUME_RETRY);
    expect(ends).toEqual([]);
    resume(9, second, commands.RESUME_ABORT);
    resume(8, first, commands.RESUME_RETRY);
    resume(8, first, commands.RESUME_TERMINATE);
    expect(ends).toEqual(['second abort', 'first retry']);
    expect(stalls.held).toBe(0);
  });

  test('no more wait than there are places; a further one is reported when one is free', () => {
    const { queue, stalls, events } = queueOver(new TaggedCache());
    const ends: string[] = [];
    for (const name of ['a', 'b', 'c', 'd']) stalls.hold(transaction(8, ends, name));
    expect([stalls.held, stalls.waiting, events.pending]).toEqual([2, 2, 2]);
    const batch = new Uint32Array(4);
    commands.resumeTransaction(batch, 0, 8, events.take()!.stag, commands.RESUME_TERMINATE);
    queue.submit(batch, 1, NOW);
    expect(ends).toEqual(['a readAsZero']);
    expect([stalls.held, stalls.waiting, events.pending]).toEqual([2, 1, 2]);
    commands.terminateStalls(batch, 0, 8);
    queue.submit(batch, 1, NOW);
    expect(ends.slice(1).sort()).toEqual(['b abort', 'c abort', 'd abort']);
    expect([stalls.held, stalls.waiting]).toEqual([0, 0]);
  });

  test('a full event ring loses plain events and counts them, and keeps those of stalled transactions (7.4)', () => {
    const { events } = queueOver(new TaggedCache());
    const event = { id: 4, streamId: 1, substreamId: 5, stag: -1, write: false, stage2: true, iovaPage: 3 };
    for (let index = 0; index < 130; index += 1) events.add(event);
    expect(events.lost).toBe(2);
    events.add({ ...event, stag: 7 });
    expect([events.lost, events.pending]).toEqual([2, 129]);
    for (let index = 0; index < 128; index += 1) expect(events.take()).toEqual(event);
    expect(events.take()).toEqual({ ...event, stag: 7 });
    expect(events.take()).toBe(null);
  });
});
