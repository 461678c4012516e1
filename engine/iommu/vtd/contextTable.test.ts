/** Root and context entries of legacy mode against their bit tables (VT-d specification 9.1 and 9.3), and the reasons of 7.1.3. */
import { describe, expect, test } from 'vitest';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { NO_PASID } from '../../pcie/translator.ts';
import { writeEntry } from '../formats/naiveTables.ts';
import { ContextReader, writeContextEntry } from './contextTable.ts';

const ROOT = 1;
const CONTEXT = 2;
const TABLE = 3n;
const DEVICE = 0x0309;

interface Entries {
  readonly root?: readonly [bigint, bigint];
  readonly context?: readonly [bigint, bigint];
}

function read({ root, context }: Entries, pasid = NO_PASID): string {
  const memory = new PhysicalMemory(16 * 4096);
  const [rootLow, rootHigh] = root ?? [(BigInt(CONTEXT) << 12n) | 1n, 0n];
  writeEntry(memory, ROOT, 3 * 2, rootLow);
  writeEntry(memory, ROOT, 3 * 2 + 1, rootHigh);
  const [low, high] = context ?? [(TABLE << 12n) | 1n, 2n | (7n << 8n)];
  writeEntry(memory, CONTEXT, 9 * 2, low);
  writeEntry(memory, CONTEXT, 9 * 2 + 1, high);
  const reader = new ContextReader(memory);
  if (!reader.read(ROOT, DEVICE, pasid)) return `reason 0x${reader.fault.toString(16)}`;
  return `domain ${reader.domainId}, ${reader.passthrough ? 'passed through' : `${reader.levels} levels from ${reader.tablePage}`}`;
}

const P = (TABLE << 12n) | 1n;

describe('what the hardware reads', () => {
  test.each([
    ['a plain entry', {}, 'domain 7, 4 levels from 3'],
    ['FPD (bit 1), and bits 70:67, which are ignored', { context: [P | 2n, 0x7an] }, 'domain 0, 4 levels from 3'],
    ['no root entry', { root: [0n, 0n] }, 'reason 0x1'],
    ['no context entry', { context: [0n, 2n] }, 'reason 0x2'],
    ['a reserved translation type, TT 3', { context: [P | (3n << 2n), 2n] }, 'reason 0x3'],
    ['two levels, AW 0', { context: [P, 0n] }, 'reason 0x3'],
    ['six levels, AW 4', { context: [P, 4n] }, 'reason 0x3'],
    ['pass-through without a width', { context: [P | (2n << 2n), 0n] }, 'reason 0x3'],
    ['pass-through', { context: [P | (2n << 2n), 3n] }, 'domain 0, passed through'],
    ['reserved bits 11:1 of a root entry', { root: [(BigInt(CONTEXT) << 12n) | 3n, 0n] }, 'reason 0xa'],
    ['reserved bits 127:64 of a root entry', { root: [(BigInt(CONTEXT) << 12n) | 1n, 1n << 63n] }, 'reason 0xa'],
    ['reserved bits 11:4 of a context entry', { context: [P | 0x10n, 2n] }, 'reason 0xb'],
    ['reserved bit 71 of a context entry', { context: [P, 2n | (1n << 7n)] }, 'reason 0xb'],
    ['reserved bits 127:88 of a context entry', { context: [P, 2n | (1n << 24n)] }, 'reason 0xb'],
  ] as const)('%s', (_name, entries, wanted) => {
    expect(read(entries)).toBe(wanted);
  });

  test('a request with a PASID is refused whatever the entries say, since the root table is of legacy mode (reason 0x31)', () => {
    expect(read({}, 5)).toBe('reason 0x31');
    expect(read({ root: [0n, 0n] }, 5)).toBe('reason 0x31');
  });
});

test('what software writes for pass-through names the widest addresses (9.3, AW), and is read as it was meant', () => {
  const memory = new PhysicalMemory(64 * 4096);
  const frames = new FrameAllocator(memory, 1, 63);
  const root = frames.allocatePage();
  writeContextEntry(memory, frames, root, DEVICE, { domainId: 5, passthrough: true });
  const reader = new ContextReader(memory);
  expect(reader.read(root, DEVICE, NO_PASID)).toBe(true);
  expect([reader.passthrough, reader.domainId, reader.levels]).toEqual([true, 5, 5]);
});
