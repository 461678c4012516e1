import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PhysicalMemory } from './physicalMemory.ts';

const PAGES = 3000;
const BYTES = PAGES * 4096;

test('bytes come back as they were written, against a naive map of bytes', () => {
  const write = fc.record({ at: fc.nat(BYTES - 10_000), bytes: fc.uint8Array({ minLength: 1, maxLength: 9_000 }) });
  fc.assert(
    fc.property(fc.array(write, { maxLength: 12 }), (writes) => {
      const memory = new PhysicalMemory(BYTES);
      const naive = new Map<number, number>();
      for (const { at, bytes } of writes) {
        memory.writeBytes(at, bytes, 0, bytes.length);
        bytes.forEach((byte, index) => naive.set(at + index, byte));
      }
      for (const { at, bytes } of writes) {
        const read = new Uint8Array(bytes.length + 200);
        memory.readBytes(at, read, 100, bytes.length);
        expect([...read.subarray(100, 100 + bytes.length)]).toEqual(
          [...bytes.keys()].map((index) => naive.get(at + index)),
        );
      }
    }),
    { numRuns: 30 },
  );
});

test('words and bytes are the same memory, little-endian', () => {
  const memory = new PhysicalMemory(BYTES);
  memory.writeWord(5, 3, 0xdead_beef);
  const bytes = new Uint8Array(4);
  memory.readBytes(5 * 4096 + 12, bytes, 0, 4);
  expect([...bytes]).toEqual([0xef, 0xbe, 0xad, 0xde]);
  expect(memory.readWord(5, 3)).toBe(0xdead_beef);
  const at = memory.locate(5);
  expect(memory.words[at + 3]).toBe(0xdead_beef);
});

test('only what was written takes room, and a released page reads as zeros', () => {
  const memory = new PhysicalMemory(BYTES);
  expect(memory.readWord(2999, 0)).toBe(0);
  expect(memory.words[memory.locate(2999)]).toBe(0);
  expect(memory.touchedPages).toBe(0);
  memory.writeWord(7, 0, 1);
  memory.releasePage(7);
  expect(memory.touchedPages).toBe(0);
  memory.writeWord(8, 1, 2);
  expect(memory.readWord(7, 0)).toBe(0);
  expect(memory.readWord(8, 0)).toBe(0);
});

test('outside the memory reads give all ones and writes are swallowed', () => {
  const memory = new PhysicalMemory(BYTES);
  memory.writeBytes(BYTES - 2, new Uint8Array([1, 2, 3, 4]), 0, 4);
  const read = new Uint8Array(4);
  memory.readBytes(BYTES - 2, read, 0, 4);
  expect([...read]).toEqual([1, 2, 255, 255]);
  memory.writeWord(2 ** 39, 0, 1);
  expect(memory.readWord(2 ** 39, 0)).toBe(0);
});
