/**
 * For tests: two stages of tables in the plainest way, on whole 64-bit words: every address of the first stage is looked up in the second
 * (RISC-V privileged architecture, 21.5; VT-d specification 3.8; SMMUv3 specification IHI 0070, 3.3). A stage says what one of its entries
 * means, from its specification's bit table; nothing here knows the code that it helps to check.
 */
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';

interface Permitted {
  readonly read: boolean;
  readonly write: boolean;
}

export type NaiveStep =
  | 'fault'
  | ({ readonly table: bigint } & Permitted)
  | ({ readonly leaf: bigint; readonly sizeBits?: bigint } & Permitted);

export interface NaiveStage {
  /** Of the whole address. */
  readonly widthBits: bigint;
  readonly signed: boolean;
  readonly levels: number;
  step(entry: bigint, level: number): NaiveStep;
}

export interface NaiveResult {
  readonly phys: bigint;
  /** Bits of the smallest leaf on the way of the address, first stage and last. */
  readonly sizeBits: bigint;
  readonly write: boolean;
  readonly reads: number;
}

/** Which stage refuses. */
export type NaiveFault = 1 | 2;

type SecondStage = (address: bigint, write: boolean) => NaiveResult | null;

function readWord(memory: PhysicalMemory, address: bigint): bigint {
  const page = Number(address >> 12n);
  const word = Number(address & 0xfffn) / 4;
  return BigInt(memory.readWord(page, word)) | (BigInt(memory.readWord(page, word + 1)) << 32n);
}

const IDENTITY: SecondStage = (phys) => ({ phys, sizeBits: 52n, write: true, reads: 0 });

function walkStage(
  memory: PhysicalMemory,
  stage: NaiveStage,
  root: bigint,
  address: bigint,
  write: boolean,
  second: SecondStage,
): NaiveResult | NaiveFault {
  const upper = address >> (stage.widthBits - (stage.signed ? 1n : 0n));
  const allOnes = (1n << (64n - stage.widthBits + 1n)) - 1n;
  if (upper !== 0n && !(stage.signed && upper === allOnes)) return 1;
  let table = root;
  let reads = 0;
  let mayRead = true;
  let mayWrite = true;
  for (let level = stage.levels - 1; level >= 0; level -= 1) {
    const lowest = 12n + 9n * BigInt(level);
    const highest = level === stage.levels - 1 ? stage.widthBits : lowest + 9n;
    const index = (address >> lowest) & ((1n << (highest - lowest)) - 1n);
    const place = second(table + index * 8n, false);
    if (place === null) return 2;
    reads += place.reads + 1;
    const step = stage.step(readWord(memory, place.phys), level);
    if (step === 'fault') return 1;
    mayRead &&= step.read;
    mayWrite &&= step.write;
    if ('table' in step) {
      table = step.table;
      continue;
    }
    if (!(write ? mayWrite : mayRead)) return 1;
    const sizeBits = step.sizeBits ?? lowest;
    const inLeaf = address & ((1n << sizeBits) - 1n);
    const end = second(step.leaf + inLeaf, write);
    if (end === null) return 2;
    return {
      phys: end.phys,
      sizeBits: end.sizeBits < sizeBits ? end.sizeBits : sizeBits,
      write: mayWrite && end.write,
      reads: reads + end.reads,
    };
  }
  return 1;
}

export function naiveNestedWalk(
  memory: PhysicalMemory,
  first: NaiveStage,
  firstRoot: bigint,
  second: NaiveStage,
  secondRoot: bigint,
  address: bigint,
  write: boolean,
): NaiveResult | NaiveFault {
  return walkStage(memory, first, firstRoot, address, write, (guest, writes) => {
    const found = walkStage(memory, second, secondRoot, guest, writes, IDENTITY);
    return typeof found === 'number' ? null : found;
  });
}

function flag(entry: bigint, bit: bigint): boolean {
  return ((entry >> bit) & 1n) === 1n;
}

function aligned(leaf: bigint, level: number): boolean {
  return leaf % (1n << (12n + 9n * BigInt(level))) === 0n;
}

/** `extra`: bits of a longer root index, 2 in the second stage. Hardware that leaves accessed and dirty bits alone. */
export function naiveRiscvStage(levels: number, extra: bigint): NaiveStage {
  return {
    widthBits: 12n + 9n * BigInt(levels) + extra,
    signed: extra === 0n,
    levels,
    step: (entry, level) => {
      if (!flag(entry, 0n) || (!flag(entry, 1n) && flag(entry, 2n)) || ((entry >> 54n) & 0x7fn) !== 0n) return 'fault';
      const memoryType = (entry >> 61n) & 3n;
      const target = ((entry >> 10n) & ((1n << 44n) - 1n)) << 12n;
      if (!flag(entry, 1n) && !flag(entry, 3n)) {
        const clear = [4n, 6n, 7n, 63n].every((bit) => !flag(entry, bit));
        return clear && memoryType === 0n ? { table: target, read: true, write: true } : 'fault';
      }
      if (!flag(entry, 4n) || memoryType === 3n) return 'fault';
      const permitted = { read: flag(entry, 1n), write: flag(entry, 2n) };
      if (flag(entry, 63n)) {
        // Svnapot: 64 KiB, whose page number ends in 1000
        const pattern = level === 0 && (target & 0xf000n) === 0x8000n;
        return pattern ? { leaf: target - 0x8000n, sizeBits: 16n, ...permitted } : 'fault';
      }
      return aligned(target, level) ? { leaf: target, ...permitted } : 'fault';
    },
  };
}

/** x86-64 entries. */
export function naiveFirstStage(levels: number): NaiveStage {
  return {
    widthBits: 12n + 9n * BigInt(levels),
    signed: true,
    levels,
    step: (entry, level) => {
      if (!flag(entry, 0n) || !flag(entry, 2n)) return 'fault';
      const target = entry & 0xf_ffff_ffff_f000n;
      if (level > 0 && !flag(entry, 7n)) return { table: target, read: true, write: flag(entry, 1n) };
      const leaf = level > 0 && flag(entry, 12n) ? target - 4096n : target;
      return level < 3 && aligned(leaf, level) ? { leaf, read: true, write: flag(entry, 1n) } : 'fault';
    },
  };
}

/** Second-stage entries of VT-d, absent where they allow nothing. */
export function naiveSecondStage(levels: number): NaiveStage {
  return {
    widthBits: 12n + 9n * BigInt(levels),
    signed: false,
    levels,
    step: (entry, level) => {
      const target = entry & 0xf_ffff_ffff_f000n;
      const permitted = { read: flag(entry, 0n), write: flag(entry, 1n) };
      if (!permitted.read && !permitted.write) return 'fault';
      // 9.8: bit 62 is reserved, and bit 11 in an entry that points at a table
      if (flag(entry, 62n)) return 'fault';
      if (level > 0 && !flag(entry, 7n)) return flag(entry, 11n) ? 'fault' : { table: target, ...permitted };
      return level < 3 && aligned(target, level) ? { leaf: target, ...permitted } : 'fault';
    },
  };
}
