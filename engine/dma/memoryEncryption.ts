/**
 * Memory encryption as bus addresses show it: the C-bit of AMD SME and SEV, above the address bits proper (Linux
 * include/linux/dma-direct.h: `phys_to_dma`, `phys_to_dma_unencrypted`, `dma_to_phys`). An access with the bit is decrypted by the memory
 * controller with the owner's key; one without it finds the bytes as they lie in memory.
 * Leaves out: Intel TDX, whose bit has the opposite sense.
 */
import type { PhysAddr } from '../memory/addresses.ts';

export class MemoryEncryption {
  /** Added to an address that is meant encrypted. */
  private readonly bit: number;

  /** `cBit`: position of the C-bit, 32 to 51. */
  constructor(cBit: number) {
    this.bit = 2 ** cBit;
  }

  /** `phys_to_dma` of private memory. */
  encrypted(phys: number): number {
    return phys + this.bit;
  }

  /** `dma_to_phys`: the C-bit is no part of the place. */
  physOf(address: number): PhysAddr {
    return (address % this.bit) as PhysAddr;
  }
}
