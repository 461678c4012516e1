/**
 * One number for each group of blocks of a medium, by the group's number: an open-addressed table, so that groups that lie far
 * apart cost no more than neighbours. 16 bytes an entry, at most three quarters full.
 * Leaves out: removal; a group that is used once is likely to be used again.
 */
const FIRST_SIZE = 1024;
/** Knuth's multiplicative hashing: neighbouring groups spread over the table. */
const HASH = 0x9e37_79b1;

export class MediaGroups {
  size = 0;
  /** Group number plus one; 0: free. */
  private keys = new Float64Array(FIRST_SIZE);
  private values = new Float64Array(FIRST_SIZE);

  get bytes(): number {
    return this.keys.byteLength + this.values.byteLength;
  }

  get(group: number): number | undefined {
    const place = this.placeOf(group);
    return this.keys[place] === 0 ? undefined : this.values[place];
  }

  set(group: number, value: number): void {
    let place = this.placeOf(group);
    if (this.keys[place] === 0) {
      if (4 * (this.size + 1) > 3 * this.keys.length) {
        this.grow();
        place = this.placeOf(group);
      }
      this.keys[place] = group + 1;
      this.size += 1;
    }
    this.values[place] = value;
  }

  private placeOf(group: number): number {
    const mask = this.keys.length - 1;
    const mixed = Math.imul((group | 0) ^ Math.floor(group / 2 ** 32), HASH);
    let place = (mixed ^ (mixed >>> 15)) & mask;
    while (this.keys[place] !== 0 && this.keys[place] !== group + 1) place = (place + 1) & mask;
    return place;
  }

  private grow(): void {
    const { keys, values } = this;
    this.keys = new Float64Array(keys.length * 2);
    this.values = new Float64Array(keys.length * 2);
    for (let index = 0; index < keys.length; index += 1) {
      if (keys[index] === 0) continue;
      const place = this.placeOf(keys[index]! - 1);
      this.keys[place] = keys[index]!;
      this.values[place] = values[index]!;
    }
  }
}
