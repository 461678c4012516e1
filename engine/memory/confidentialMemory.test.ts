import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConfidentialMemory, convertPages } from './confidentialMemory.ts';
import { EAGAIN, EINVAL } from './memoryErrors.ts';
import { PageKinds } from './pageKinds.ts';
import { convertRange } from './pageMovement.ts';
import { PhysicalMemory } from './physicalMemory.ts';
import { FOLL_WRITE, pinUserPages, unpinUserPages } from './pinUserPages.ts';
import { PEER_PAGE, TestProcesses } from './testProcess.ts';

const C_BIT = 47;
const ENCRYPTED = 2 ** C_BIT;

function machine(cBit: number | null) {
  const memory = new PhysicalMemory(64 * 4096);
  const kinds = new PageKinds({ confidential: true });
  kinds.setRange(60, 4, { name: 'gpu', busOffset: 0, sourceId: 1 });
  return { memory, kinds, bus: new ConfidentialMemory(memory, kinds, cBit) };
}

function readOf(memory: { readBytes: PhysicalMemory['readBytes'] }, at: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  memory.readBytes(at, bytes, 0, length);
  return bytes;
}

const piece = fc.record({
  at: fc.integer({ min: 4096, max: 50 * 4096 }),
  bytes: fc.uint8Array({ minLength: 16, maxLength: 9000 }),
});

describe('two aliases of memory (AMD64 volume 2, 7.10)', () => {
  test('what is written through an alias reads back through it, whatever the page is', () => {
    fc.assert(
      fc.property(piece, fc.boolean(), fc.boolean(), ({ at, bytes }, encrypted, shared) => {
        const { kinds, bus } = machine(C_BIT);
        kinds.setPrivate(0, 64, !shared);
        const address = at + (encrypted ? ENCRYPTED : 0);
        bus.writeBytes(address, bytes, 0, bytes.length);
        expect(readOf(bus, address, bytes.length)).toEqual(bytes);
      }),
      { numRuns: 60 },
    );
  });

  test('the processor sees those bytes through the proper alias only', () => {
    fc.assert(
      fc.property(piece, fc.boolean(), ({ at, bytes }, shared) => {
        const { memory, kinds, bus } = machine(C_BIT);
        kinds.setPrivate(0, 64, !shared);
        bus.writeBytes(at + (shared ? 0 : ENCRYPTED), bytes, 0, bytes.length);
        expect(readOf(memory, at, bytes.length)).toEqual(bytes);
        expect(readOf(bus, at + (shared ? ENCRYPTED : 0), bytes.length)).not.toEqual(bytes);
        expect(bus.garbledAccesses).toBeGreaterThan(0);
      }),
      { numRuns: 60 },
    );
  });

  test('equal bytes look different at every place, and the same each time', () => {
    const { memory, bus } = machine(null);
    const zeros = readOf(bus, 0x5000, 4096);
    expect(
      new Set(Array.from({ length: 256 }, (_, index) => zeros.slice(index * 16, index * 16 + 16).join())).size,
    ).toBe(256);
    expect(readOf(bus, 0x6000, 4096)).not.toEqual(zeros);
    expect(readOf(machine(null).bus, 0x5000, 4096)).toEqual(zeros);
    expect(readOf(memory, 0x5000, 16)).toEqual(new Uint8Array(16));
  });

  test("a peer's memory is plain either way", () => {
    const { memory, bus } = machine(C_BIT);
    bus.writeBytes(61 * 4096 + ENCRYPTED, Uint8Array.of(1, 2), 0, 2);
    bus.writeBytes(61 * 4096 + 2, Uint8Array.of(3, 4), 0, 2);
    expect([...readOf(memory, 61 * 4096, 4)]).toEqual([1, 2, 3, 4]);
    expect(bus.garbledAccesses).toBe(0);
  });
});

describe('set_memory_decrypted', () => {
  test('garbles what the pages held, and the way back mends it', () => {
    const { memory, kinds } = machine(null);
    memory.writeBytes(5 * 4096, Uint8Array.of(1, 2, 3, 4), 0, 4);
    convertPages(memory, kinds, 4, 3, false);
    expect([...readOf(memory, 5 * 4096, 4)]).not.toEqual([1, 2, 3, 4]);
    convertPages(memory, kinds, 4, 3, false);
    convertPages(memory, kinds, 5, 1, true);
    expect([...readOf(memory, 5 * 4096, 4)]).toEqual([1, 2, 3, 4]);
    expect([4, 5, 6].map((page) => kinds.isPrivate(page))).toEqual([false, true, false]);
  });

  test('of a range of a process: mirrors hear of it, pinned pages and peers refuse', () => {
    const machine = new TestProcesses({ confidential: true });
    const { mm, kinds, pages } = machine;
    const start = mm.map({ pages: 3 });
    let heard = 0;
    const notifier = machine.notify(start + 1, 1, (range, sequence) => {
      notifier.setSequence(sequence);
      if (range.end > start + 2) heard += 1;
      return true;
    });
    expect(convertRange(mm, start, 3, false)).toBe(0);
    expect(heard).toBe(1);
    machine.setByte(start, 5);
    expect(kinds.isPrivate(mm.table.pageOf(start))).toBe(false);
    const pinned = new Float64Array(1);
    pinUserPages(mm, start + 1, 1, FOLL_WRITE, pinned);
    expect(convertRange(mm, start, 3, true)).toBe(EAGAIN);
    expect(kinds.isPrivate(mm.table.pageOf(start))).toBe(false);
    unpinUserPages(pages, pinned, 1, false);
    const peer = mm.map({ pages: 1, kind: 'p2p', offset: PEER_PAGE });
    expect(convertRange(mm, peer, 1, false)).toBe(EINVAL);
    const frame = mm.table.pageOf(start);
    mm.exit();
    expect(kinds.isPrivate(frame)).toBe(true);
    expect(convertRange(new TestProcesses().mm, 0, 1, false)).toBe(EINVAL);
  });
});
