/**
 * Seeded random streams (xoroshiro128+, Blackman and Vigna). A stream can be forked by a label: the child depends on the
 * parent's seed and the label only, never on how much was drawn, so that adding a draw in one place leaves every other
 * place's numbers as they were.
 */
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';

const TWO_32 = 2 ** 32;

export class RandomStream {
  private readonly seed: number;
  private readonly generator: ReturnType<typeof xoroshiro128plus>;

  /** `seed` is taken modulo 2^32. */
  constructor(seed: number) {
    this.seed = seed >>> 0;
    this.generator = xoroshiro128plus(this.seed);
  }

  /** A whole number in [0, 2^32). */
  nextUint32(): number {
    return this.generator.next() >>> 0;
  }

  /** A whole number in [0, limit), every value equally likely; `limit` is 1 to 2^32. */
  below(limit: number): number {
    const fair = TWO_32 - (TWO_32 % limit);
    let value = this.nextUint32();
    while (value >= fair) value = this.nextUint32();
    return value % limit;
  }

  /** A number in [0, 1) with 53 random bits. */
  fraction(): number {
    const high = this.nextUint32() >>> 5;
    const low = this.nextUint32() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  }

  /** A stream of its own for one purpose. */
  fork(label: string): RandomStream {
    let hash = this.seed ^ 0x811c_9dc5;
    for (let index = 0; index < label.length; index += 1) hash = Math.imul(hash ^ label.charCodeAt(index), 0x0100_0193);
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b_3c6d);
    return new RandomStream(hash ^ (hash >>> 12));
  }
}
