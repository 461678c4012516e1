/**
 * For tests: walks of Arm's and RISC-V's tables in the plainest way, on whole 64-bit words, from the bit tables of the specifications
 * and with nothing of the code that they help to check (Arm DDI 0487, D8; RISC-V privileged architecture, 12.3 and 21.5).
 */
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';

function read(memory: PhysicalMemory, address: bigint): bigint {
  const page = Number(address >> 12n);
  const word = Number(address & 0xfffn) / 4;
  return BigInt(memory.readWord(page, word)) | (BigInt(memory.readWord(page, word + 1)) << 32n);
}

function bits(value: bigint, high: bigint, low: bigint): bigint {
  return (value >> low) & ((1n << (high - low + 1n)) - 1n);
}

function flag(value: bigint, position: bigint): boolean {
  return bits(value, position, position) === 1n;
}

/** `widthBits`: of the address; `granuleBits`: 12, 14 or 16. The top index takes what is left of the width. */
export function naiveArmWalk(
  memory: PhysicalMemory,
  stage: 1 | 2,
  granuleBits: bigint,
  levels: number,
  widthBits: bigint,
  root: bigint,
  address: bigint,
  write: boolean,
): bigint | null {
  if (address >> widthBits !== 0n) return null;
  const indexBits = granuleBits - 3n;
  let table = root;
  let mayWrite = true;
  let mayUser = true;
  // architecture levels count up to 3
  for (let level = 4 - levels; level <= 3; level += 1) {
    const low = granuleBits + indexBits * BigInt(3 - level);
    const high = level === 4 - levels ? widthBits - 1n : low + indexBits - 1n;
    const descriptor = read(memory, table + bits(address, high, low) * 8n);
    const type = bits(descriptor, 1n, 0n);
    const output = bits(descriptor, 47n, granuleBits) << granuleBits;
    if (type === 0n || type === 2n) return null;
    if (type === 3n && level < 3) {
      if (stage === 1) {
        if (flag(descriptor, 61n)) mayUser = false;
        if (flag(descriptor, 62n)) mayWrite = false;
      }
      table = output;
      continue;
    }
    if (level === 3 && type !== 3n) return null;
    if (type === 1n) {
      const blocks = granuleBits === 12n ? [1, 2] : [2];
      if (!blocks.includes(level)) return null;
    }
    if (!flag(descriptor, 10n)) return null;
    if (stage === 1) {
      if (!flag(descriptor, 6n) || !mayUser) return null;
      if (write && (flag(descriptor, 7n) || !mayWrite)) return null;
    } else if (!flag(descriptor, write ? 7n : 6n)) return null;
    return ((output >> low) << low) | bits(address, low - 1n, 0n);
  }
  return null;
}

/** `extra`: bits by which the root's index is longer: 0 in the first stage, 2 in the second. Accessed and dirty must be set. */
export function naiveRiscvWalk(
  memory: PhysicalMemory,
  levels: number,
  extra: bigint,
  root: bigint,
  address: bigint,
  write: boolean,
): bigint | null {
  const width = 12n + 9n * BigInt(levels) + extra;
  if (extra === 0n) {
    const upper = bits(address, 63n, width - 1n);
    if (upper !== 0n && upper !== (1n << (64n - width + 1n)) - 1n) return null;
  } else if (address >> width !== 0n) return null;
  let table = root;
  for (let level = BigInt(levels - 1); level >= 0n; level -= 1n) {
    const top = level === BigInt(levels - 1);
    const low = 12n + 9n * level;
    const index = bits(address, low + 8n + (top ? extra : 0n), low);
    const pte = read(memory, table + index * 8n);
    const [v, r, w, x, u, a, d] = [0n, 1n, 2n, 3n, 4n, 6n, 7n].map((position) => flag(pte, position));
    if (!v || (!r && w) || bits(pte, 60n, 54n) !== 0n) return null;
    const ppn = bits(pte, 53n, 10n);
    const napot = flag(pte, 63n);
    const memoryType = bits(pte, 62n, 61n);
    if (!r && !x) {
      if (a || d || u || napot || memoryType !== 0n) return null;
      table = ppn << 12n;
      continue;
    }
    if (!u || memoryType === 3n) return null;
    if (!(write ? w : r)) return null;
    if (!a || (write && !d)) return null;
    if (napot) {
      if (level !== 0n || bits(ppn, 3n, 0n) !== 8n) return null;
      return ((ppn >> 4n) << 16n) | bits(address, 15n, 0n);
    }
    if (level > 0n && bits(ppn, 9n * level - 1n, 0n) !== 0n) return null;
    return ((ppn << 12n) & ~((1n << low) - 1n)) | bits(address, low - 1n, 0n);
  }
  return null;
}
