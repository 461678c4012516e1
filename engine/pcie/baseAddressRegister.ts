/**
 * A base address register for memory (PCI Express Base Specification 7.5.1.2.1): bit 0 zero for memory, 2:1 type (00 32 bits, 10 64
 * bits), 3 prefetchable, above them the address. As many low bits are wired to zero as the size has, so that software learns the size by
 * writing ones and reading back. A 64-bit register has a second doubleword for the upper half.
 * Leaves out: I/O space, resizable BARs, expansion ROMs.
 */
import { LabError } from '../time/labError.ts';

const TYPE_64_BIT = 0b100;
const PREFETCHABLE = 0b1000;
const FLAGS = 0xf;
const DOUBLEWORD = 2 ** 32;
/** A function of PCI Express asks for no less; below 4 GiB half of the space is the most. */
const SMALLEST = 128;
const LARGEST_32_BIT = 2 ** 31;
const LARGEST_64_BIT = 2 ** 52;

export interface BarOptions {
  /** Number of its first register: 0 to 5. */
  readonly index: number;
  /** Bytes, a power of two. */
  readonly size: number;
  readonly bits: 32 | 64;
  readonly prefetchable: boolean;
}

export class BaseAddressRegister {
  readonly options: BarOptions;
  private low = 0;
  private high = 0;

  /** `where`: whose it is, for a person. */
  constructor(where: string, options: BarOptions) {
    const { size, bits, index } = options;
    const largest = bits === 64 ? LARGEST_64_BIT : LARGEST_32_BIT;
    if (!Number.isInteger(Math.log2(size)) || size < SMALLEST || size > largest) {
      throw new LabError(
        `${where} BAR ${String(index)}`,
        `a size of ${String(size)} bytes is no power of two from ${String(SMALLEST)} to 2^${String(Math.log2(largest))}.`,
        bits === 32 && size > largest ? 'Use a register of 64 bits.' : 'Use the next power of two.',
      );
    }
    this.options = options;
  }

  get address(): number {
    return ((this.low & ~FLAGS) >>> 0) + this.high * DOUBLEWORD;
  }

  /** What configuration software reads: the first doubleword, or the upper half. */
  read(upper: boolean): number {
    if (upper) return this.high;
    const { bits, prefetchable } = this.options;
    const flags = (bits === 64 ? TYPE_64_BIT : 0) | (prefetchable ? PREFETCHABLE : 0);
    return ((this.low & ~FLAGS) | flags) >>> 0;
  }

  write(value: number, upper: boolean): void {
    const { size } = this.options;
    if (upper) this.high = (value & highMask(size)) >>> 0;
    else this.low = value & lowMask(size);
  }

  place(address: number): void {
    this.write(address % DOUBLEWORD, false);
    if (this.options.bits === 64) this.write(Math.floor(address / DOUBLEWORD), true);
  }
}

/** The size behind a register, as software finds it (Linux drivers/pci/probe.c `__pci_read_base`); what was in it is put back. */
export function sizeByWritingOnes(register: BaseAddressRegister): number {
  const { bits } = register.options;
  const [low, high] = [register.read(false), bits === 64 ? register.read(true) : 0];
  register.write(0xffff_ffff, false);
  let mask = register.read(false) & ~FLAGS;
  let size = ~mask + 1;
  if (bits === 64) {
    register.write(0xffff_ffff, true);
    if (mask === 0) {
      mask = register.read(true);
      size = (~mask + 1) * DOUBLEWORD;
    }
    register.write(high, true);
  }
  register.write(low, false);
  return size < 0 ? size + DOUBLEWORD : size;
}

function lowMask(size: number): number {
  return size >= DOUBLEWORD ? 0 : ~(size - 1);
}

function highMask(size: number): number {
  return size <= DOUBLEWORD ? ~0 : ~(size / DOUBLEWORD - 1);
}
