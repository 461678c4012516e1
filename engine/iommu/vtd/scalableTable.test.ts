import { expect, test } from 'vitest';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { NO_PASID } from '../../pcie/translator.ts';
import { PasidReader } from './pasidReader.ts';
import {
  SCALABLE_CONTEXT_NOT_PRESENT,
  SCALABLE_PASID_INVALID,
  SCALABLE_ROOT_INACCESSIBLE,
  SCALABLE_ROOT_NOT_PRESENT,
} from './scalableFaults.ts';
import { writeScalableEntry } from './scalableTable.ts';

const ROOT_PAGE_AT = 2 ** 21 + 5;

function pageBehind(memory: PhysicalMemory, page: number, word: number): number {
  return Math.floor(memory.readWord(page, word) / 4096) + memory.readWord(page, word + 1) * 2 ** 20;
}

function tables() {
  const memory = new PhysicalMemory(2 ** 34);
  const frames = new FrameAllocator(memory, 1, 2 ** 22 - 1);
  return { memory, frames, root: frames.allocatePage(), reader: new PasidReader(memory) };
}

test('a device finds its first-stage table by root, context, PASID directory and PASID entry (VT-d 9.4 to 9.6)', () => {
  const { memory, frames, root, reader } = tables();
  for (const [sourceId, levels] of [
    [0x0018, 4],
    [0x00f8, 5],
    [0xff80, 4],
  ] as const) {
    writeScalableEntry(memory, frames, root, sourceId, { domainId: sourceId % 100, tablePage: ROOT_PAGE_AT, levels });
    expect(reader.read(root, sourceId, NO_PASID)).toBe(true);
    const { domainId, tablePage, passthrough } = reader;
    expect({ domainId, tablePage, levels: reader.levels, passthrough }).toEqual({
      domainId: sourceId % 100,
      tablePage: ROOT_PAGE_AT,
      levels,
      passthrough: false,
    });
  }
});

test('the bits stand where the specification puts them', () => {
  const { memory, frames, root } = tables();
  writeScalableEntry(memory, frames, root, 0x0291, { domainId: 0x1234, tablePage: 2 ** 20 + 3, levels: 5 });
  // bus 2, device 18: the upper half of the root entry
  expect(memory.readWord(root, 2 * 4)).toBe(0);
  expect(memory.readWord(root, 2 * 4 + 2) % 4096).toBe(1);
  const context = pageBehind(memory, root, 2 * 4 + 2);
  const directory = pageBehind(memory, context, 0x11 * 8);
  const table = pageBehind(memory, directory, 0);
  expect([0, 2, 4, 5].map((word) => memory.readWord(table, word))).toEqual([
    1 | (1 << 6),
    0x1234,
    0x3000 | (1 << 2),
    1,
  ]);
});

test('pass-through has a type of its own, and what is not there or not known is refused', () => {
  const { memory, frames, root, reader } = tables();
  expect([reader.read(-1, 8, NO_PASID), reader.fault]).toEqual([false, SCALABLE_ROOT_INACCESSIBLE]);
  expect([reader.read(root, 8, NO_PASID), reader.fault]).toEqual([false, SCALABLE_ROOT_NOT_PRESENT]);
  writeScalableEntry(memory, frames, root, 8, { domainId: 1, passthrough: true });
  expect([reader.read(root, 8, NO_PASID), reader.passthrough]).toEqual([true, true]);
  expect([reader.read(root, 16, NO_PASID), reader.fault]).toEqual([false, SCALABLE_CONTEXT_NOT_PRESENT]);
  const table = pageBehind(memory, pageBehind(memory, pageBehind(memory, root, 0), 8 * 8), 0);
  memory.writeWord(table, 0, 1 | (5 << 6));
  expect([reader.read(root, 8, NO_PASID), reader.fault]).toEqual([false, SCALABLE_PASID_INVALID]);
});
