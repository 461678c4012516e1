/**
 * Commands of a RISC-V IOMMU, bit by bit (RISC-V IOMMU specification 1.0, 4.1), and what they leave of a list of tagged translations.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NO_PASID } from '../../pcie/translator.ts';
import { NO_DEVICES } from '../ats/deviceTlbs.ts';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { Counters } from '../../metrics/counters.ts';
import { nanoseconds, picoseconds } from '../../time/picoseconds.ts';
import { FREE_IOMMU_COSTS } from '../freeCosts.ts';
import { TaggedCache, type TaggedEntry } from '../testTaggedCache.ts';
import { guestTag, RiscvCommandQueue } from './riscvCommandQueue.ts';
import * as commands from './riscvCommands.ts';

const { OPEN } = commands;
const NOW = picoseconds(0);

function queueOver(
  caches: TaggedCache,
  extensions: { nonLeaf?: boolean; ranges?: boolean } = {},
  costs = FREE_IOMMU_COSTS,
) {
  const memory = new PhysicalMemory(2 ** 26);
  const frames = new FrameAllocator(memory, 1, 2 ** 14 - 1);
  const counters = new Counters();
  const told: unknown[][] = [];
  const deviceTlbs = { ...NO_DEVICES, invalidate: (...what: unknown[]) => void told.push(what) };
  const queue = new RiscvCommandQueue({ memory, frames, caches, costs, counters, deviceTlbs, ...extensions });
  return { memory, counters, queue, told };
}

/** 63:0 and 127:64. */
function halves(batch: Uint32Array, index = 0): bigint[] {
  const word = index * 4;
  const half = (at: number): bigint => (BigInt(batch[at + 1]!) << 32n) | BigInt(batch[at]!);
  return [half(word), half(word + 2)];
}

function hex(batch: Uint32Array): string[] {
  return halves(batch).map((half) => half.toString(16).padStart(16, '0'));
}

test('encoding (4.1.1 to 4.1.3)', () => {
  const batch = new Uint32Array(4);
  commands.invalidateVma(batch, 0, OPEN, OPEN, OPEN);
  expect(hex(batch)).toEqual(['0000000000000001', '0000000000000000']);
  commands.invalidateVma(batch, 0, 0xbeef, 0xabcde, 0xf_ffff_ffff);
  expect(hex(batch)).toEqual(['0beef003abcde401', '00003ffffffffc00']);
  commands.invalidateVma(batch, 0, OPEN, 5, 0x1230, 4, true);
  expect(hex(batch)).toEqual(['0000000500005401', '000000000048de00']);
  commands.invalidateGvma(batch, 0, 7, OPEN);
  expect(hex(batch)).toEqual(['0000700200000081', '0000000000000000']);
  commands.fence(batch, 0);
  expect(hex(batch)).toEqual(['0000000000003002', '0000000000000000']);
  commands.invalidateDeviceContext(batch, 0, 0x01_8123);
  expect(hex(batch)).toEqual(['0181230200000003', '0000000000000000']);
  commands.invalidateProcessContext(batch, 0, 0x8123, 0xabcde);
  expect(hex(batch)).toEqual(['00812302abcde083', '0000000000000000']);
});

/** Which entries IOTINVAL.VMA covers, from its bits as the specification lists them. */
function covers(low: bigint, high: bigint, { guest, space, page, table }: TaggedEntry): boolean {
  const field = (value: bigint, top: number, bottom: number): bigint =>
    (value >> BigInt(bottom)) & ((1n << BigInt(top - bottom + 1)) - 1n);
  const guestOf = field(low, 33, 33) === 1n ? guestTag(Number(field(low, 59, 44))) : 0;
  if (guest !== guestOf) return false;
  if (field(low, 32, 32) === 1n && space !== Number(field(low, 31, 12))) return false;
  if (field(low, 10, 10) === 0n) return true;
  if (table && field(low, 34, 34) === 0n) return false;
  let address = field(high, 61, 10);
  let sizeBits = 0n;
  if (field(high, 9, 9) === 1n) {
    while ((address & 1n) === 1n) {
      address >>= 1n;
      sizeBits += 1n;
    }
    sizeBits += 1n;
    address >>= 1n;
  }
  return BigInt(page) >> sizeBits === address;
}

describe('invalidation', () => {
  const tag = fc.integer({ min: 0, max: 2 });
  const entry = fc.record({ guest: tag, space: tag, page: fc.nat({ max: 100 }), table: fc.boolean() });
  const open = fc.integer({ min: OPEN, max: 2 });

  test('after IOTINVAL.VMA with any operands left open nothing that it covers is there, and nothing else is gone (4.1.1)', () => {
    fc.assert(
      fc.property(
        fc.array(entry, { maxLength: 40 }),
        fc.array(fc.tuple(open, open, fc.integer({ min: OPEN, max: 100 }), fc.nat({ max: 6 }), fc.boolean()), {
          minLength: 1,
          maxLength: 4,
        }),
        (held, sent) => {
          const caches = new TaggedCache();
          caches.entries = [...held];
          const { queue } = queueOver(caches, { nonLeaf: true, ranges: true });
          const batch = new Uint32Array(sent.length * 4);
          for (const [index, operands] of sent.entries()) commands.invalidateVma(batch, index, ...operands);
          queue.submit(batch, sent.length, NOW);
          const left = held.filter((one) =>
            sent.every((_, index) => {
              const [low, high] = halves(batch, index);
              return !covers(low!, high!, one);
            }),
          );
          expect(caches.entries).toEqual(left);
        },
      ),
      { seed: 8, numRuns: 500 },
    );
  });

  test('IOTINVAL.GVMA takes a guest, or everything; IODIR a device, all of them, or a process (4.1.1, 4.1.3)', () => {
    const caches = new TaggedCache();
    const { queue } = queueOver(caches);
    const batch = new Uint32Array(4);
    const all = [0, 1, 2].map((guest) => ({ guest, space: 0, page: 5, table: false }));
    caches.entries = [...all];
    commands.invalidateGvma(batch, 0, 0, 77);
    queue.submit(batch, 1, NOW);
    expect(caches.entries.map(({ guest }) => guest)).toEqual([0, 2]);
    commands.invalidateGvma(batch, 0, OPEN, OPEN);
    queue.submit(batch, 1, NOW);
    expect(caches.entries).toEqual([]);
    const left = (write: () => void): string => {
      caches.devices = [6, 7].flatMap((sourceId) => [0, 1].map((process) => ({ sourceId, process })));
      write();
      queue.submit(batch, 1, NOW);
      return caches.devices.map(({ sourceId, process }) => `${sourceId}.${process}`).join(' ');
    };
    expect(
      left(() => {
        commands.invalidateDeviceContext(batch, 0, 7);
      }),
    ).toBe('6.0 6.1');
    expect(
      left(() => {
        commands.invalidateDeviceContext(batch, 0, OPEN);
      }),
    ).toBe('');
    expect(
      left(() => {
        commands.invalidateProcessContext(batch, 0, 7, 1);
      }),
    ).toBe('6.0 6.1 7.0');
  });
});

describe('the queue', () => {
  test('a command that it does not know sets cmd_ill and stops it there, until it is turned off and on (4.1)', () => {
    const caches = new TaggedCache();
    const one = { guest: 0, space: 4, page: 1, table: false };
    const illegal: readonly (readonly number[])[] = [
      [0x7f, 0, 0, 0],
      // func3 of IOTINVAL, IOFENCE, IODIR and ATS
      [0x1 | (2 << 7), 0, 0, 0],
      [0x2 | (1 << 7), 0, 0, 0],
      [0x3 | (2 << 7), 0, 0, 0],
      [0x4 | (2 << 7), 0, 0, 0],
      // IODIR.INVAL_PDT without a device, GVMA with a process, and the bits of extensions that are not there
      [0x3 | (1 << 7), 0, 0, 0],
      [0x1 | (1 << 7), 1, 0, 0],
      [0x1 | (1 << 10), 4, 0, 0],
      [0x1 | (1 << 10), 0, 1 << 9, 0],
    ];
    for (const words of illegal) {
      const { queue } = queueOver(caches);
      caches.entries = [one];
      const batch = new Uint32Array([...words, 0, 0, 0, 0]);
      commands.invalidateVma(batch, 1, OPEN, 4, OPEN);
      expect(() => queue.submit(batch, 2, NOW)).toThrow('illegal');
      expect([queue.illegal, queue.head, caches.entries.length], String(words)).toEqual([true, 0, 1]);
      queue.produce(batch, 1);
      expect(caches.entries.length).toBe(1);
      queue.restart();
      queue.produce(batch, 1);
      expect([queue.illegal, queue.head, caches.entries.length]).toEqual([false, 1, 0]);
    }
  });

  test('IOFENCE.C with AV writes its data; without, the head alone tells (4.1.2)', () => {
    const { queue, memory, counters } = queueOver(new TaggedCache());
    const address = 0x34_5678;
    queue.submit(new Uint32Array([0x2 | (1 << 10), 0xfeed_beef, address / 4, 0]), 1, NOW);
    expect(memory.readWord(0x345, 0x678 / 4)).toBe(0xfeed_beef);
    // the submission's own fence writes nothing
    expect([queue.head, counters.get('invalidationWaits')]).toEqual([2, 2]);
  });

  test('ATS.INVAL goes to the device', () => {
    const { queue, told } = queueOver(new TaggedCache());
    queue.submit(new Uint32Array([0x4 | (9 << 12), 1 | (0x8123 << 8), 0x1000, 2]), 1, NOW);
    queue.submit(new Uint32Array([0x4, 0x8123 << 8, 0x1000, 2]), 1, NOW);
    expect(told).toEqual([
      [0x8123, 9, 0x20_0001, 1, false],
      [0x8123, NO_PASID, 0x20_0001, 1, false],
    ]);
  });

  test('wraps around its ring, and serves CPUs one after the other', () => {
    const costs = { ...FREE_IOMMU_COSTS, invalidationWait: nanoseconds(900), invalidationService: nanoseconds(350) };
    const { queue, counters } = queueOver(new TaggedCache(), {}, costs);
    const batch = new Uint32Array(4);
    commands.invalidateVma(batch, 0, OPEN, 1, 5);
    for (let round = 0; round < 300; round += 1) queue.submit(batch, 1, NOW);
    expect(counters.get('invalidationsPage')).toBe(300);
    const free = 300 * 350;
    expect(queue.submit(batch, 1, nanoseconds(free))).toBe(nanoseconds(free + 900));
    expect(queue.submit(batch, 1, nanoseconds(free))).toBe(nanoseconds(free + 350 + 900));
  });
});
