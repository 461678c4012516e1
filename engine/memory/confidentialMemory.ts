/**
 * Memory of a confidential machine as two aliases show it: with the C-bit set in an address the memory controller decrypts,
 * without it the bits of the DRAM come as they are (AMD64 Architecture Programmer's Manual volume 2, 7.10 and 15.34; Linux
 * arch/x86/mm/mem_encrypt_amd.c, `set_memory_decrypted`). PhysicalMemory holds what the proper alias of each page shows: plain
 * bytes, for private and shared pages alike; the other alias sees them garbled, and what is written there arrives garbled.
 * The key stream is our own, a mix of key and address: it stands for AES with an address tweak, in that the same bytes look
 * different at every place. Leaves out: several guests' keys, integrity (SEV-SNP's checks, TDX's poison).
 */
import { PAGE_SIZE } from './addresses.ts';
import type { ByteMemory } from './byteMemory.ts';
import type { PageKinds } from './pageKinds.ts';
import type { PhysicalMemory } from './physicalMemory.ts';

const KEY = 0x5bd1_e995;

/** One word of the key stream, for four bytes at a physical address. */
function keyWord(page: number, word: number): number {
  let mixed = Math.imul(page | 0, 0x9e37_79b9) ^ Math.imul(Math.floor(page / 2 ** 32) + 1, 0x85eb_ca6b) ^ (word * KEY);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b_3c6d);
  mixed = Math.imul(mixed ^ (mixed >>> 12), 0x297a_2d39);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}

/** Garbles bytes that lie at a physical address, or makes them plain again. */
function applyKeyStream(phys: number, bytes: Uint8Array, offset: number, length: number): void {
  for (let index = 0; index < length; index += 1) {
    const at = phys + index;
    const inPage = at % PAGE_SIZE;
    const word = keyWord(Math.floor(at / PAGE_SIZE), inPage >>> 2);
    bytes[offset + index]! ^= (word >>> ((inPage & 3) * 8)) & 0xff;
  }
}

/**
 * `set_memory_encrypted` and `set_memory_decrypted`: the bits in DRAM stay, so what pages held reads as garbage after a change
 * of their kind. Callers clear them.
 */
export function convertPages(
  memory: PhysicalMemory,
  kinds: PageKinds,
  firstPage: number,
  pages: number,
  isPrivate: boolean,
): void {
  const bytes = new Uint8Array(PAGE_SIZE);
  for (let page = firstPage; page < firstPage + pages; page += 1) {
    const before = kinds.isPrivate(page);
    kinds.setPrivate(page, 1, isPrivate);
    if (kinds.isPrivate(page) === before) continue;
    memory.readBytes(page * PAGE_SIZE, bytes, 0, PAGE_SIZE);
    applyKeyStream(page * PAGE_SIZE, bytes, 0, PAGE_SIZE);
    memory.writeBytes(page * PAGE_SIZE, bytes, 0, PAGE_SIZE);
  }
}

/** What stands behind the root complex of a confidential machine. A fabric without one uses PhysicalMemory itself. */
export class ConfidentialMemory implements ByteMemory {
  /** Accesses whose alias did not fit their page. */
  garbledAccesses = 0;
  private readonly memory: PhysicalMemory;
  private readonly kinds: PageKinds;
  private readonly encryptedAlias: number;
  private scratch = new Uint8Array(PAGE_SIZE);

  /**
   * `cBit`: the address bit that asks for decryption, such as 51; null: devices have no way to ask, as in a guest, where the
   * host's IOMMU translates without the guest's key.
   */
  constructor(memory: PhysicalMemory, kinds: PageKinds, cBit: number | null) {
    this.memory = memory;
    this.kinds = kinds;
    this.encryptedAlias = cBit === null ? Infinity : 2 ** cBit;
  }

  readBytes(address: number, target: Uint8Array, targetOffset: number, length: number): void {
    for (let done = 0; done < length;) {
      const phys = this.strip(address + done);
      const step = Math.min(length - done, PAGE_SIZE - (phys % PAGE_SIZE));
      this.memory.readBytes(phys, target, targetOffset + done, step);
      if (this.garbles(address + done, phys)) applyKeyStream(phys, target, targetOffset + done, step);
      done += step;
    }
  }

  writeBytes(address: number, source: Uint8Array, sourceOffset: number, length: number): void {
    for (let done = 0; done < length;) {
      const phys = this.strip(address + done);
      const step = Math.min(length - done, PAGE_SIZE - (phys % PAGE_SIZE));
      if (this.garbles(address + done, phys)) {
        const { scratch } = this;
        scratch.set(source.subarray(sourceOffset + done, sourceOffset + done + step));
        applyKeyStream(phys, scratch, 0, step);
        this.memory.writeBytes(phys, scratch, 0, step);
      } else {
        this.memory.writeBytes(phys, source, sourceOffset + done, step);
      }
      done += step;
    }
  }

  private strip(address: number): number {
    return address >= this.encryptedAlias ? address - this.encryptedAlias : address;
  }

  /** The memory of a peer is behind no key: both aliases are plain. */
  private garbles(address: number, phys: number): boolean {
    const page = Math.floor(phys / PAGE_SIZE);
    if (this.kinds.kindOf(page) === 'p2p') return false;
    const garbled = this.kinds.isPrivate(page) !== address >= this.encryptedAlias;
    if (garbled) this.garbledAccesses += 1;
    return garbled;
  }
}
