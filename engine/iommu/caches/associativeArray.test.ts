import fc from 'fast-check';
import { expect, test } from 'vitest';
import { AssociativeArray, NO_ENTRY, type Replacement } from './associativeArray.ts';

interface Entry {
  domain: number;
  tag: number;
  value: number;
}

/** Per set, what each way holds, when it was filled and used, and the bits of a tree over the ways. */
class NaiveArray {
  readonly sets: (Entry | null)[][];
  private readonly replacement: Replacement;
  private readonly filled = new Map<Entry, number>();
  private readonly used = new Map<Entry, number>();
  /** By set and path from the root ('', 'L', 'LR' ...): the side that was used last. */
  private readonly lastSide = new Map<string, string>();
  private clock = 0;

  constructor(entries: number, ways: number, replacement: Replacement) {
    const real = Math.min(entries, ways);
    this.replacement = replacement;
    this.sets = Array.from({ length: Math.floor(entries / real) }, () => Array.from({ length: real }, () => null));
  }

  get count(): number {
    return this.sets.flat().filter((entry) => entry !== null).length;
  }

  find(domain: number, tag: number): number | undefined {
    const number = tag % this.sets.length;
    const way = this.sets[number]!.findIndex((entry) => entry?.domain === domain && entry.tag === tag);
    if (way < 0) return undefined;
    this.use(number, way);
    return this.sets[number]![way]!.value;
  }

  fill(domain: number, tag: number, value: number): void {
    const number = tag % this.sets.length;
    const set = this.sets[number]!;
    let way = set.findIndex((entry) => entry?.domain === domain && entry.tag === tag);
    if (way >= 0) {
      set[way]!.value = value;
      this.use(number, way);
      return;
    }
    way = set.includes(null) ? this.emptied(set) : this.victim(number);
    const entry = { domain, tag, value };
    set[way] = entry;
    this.clock += 1;
    this.filled.set(entry, this.clock);
    this.use(number, way);
  }

  drop(domain: number, first: number, last: number): void {
    for (const set of this.sets) {
      for (const [way, entry] of set.entries()) {
        if (entry === null || (domain >= 0 && entry.domain !== domain)) continue;
        if (entry.tag >= first && entry.tag <= last) set[way] = null;
      }
    }
  }

  /** Which empty way is filled makes a difference to a tree only: any will do elsewhere. */
  private emptied(set: readonly (Entry | null)[]): number {
    return set.indexOf(null);
  }

  private victim(number: number): number {
    const set = this.sets[number]!;
    if (this.replacement === 'plru') return this.follow(number, '', 0, set.length);
    const order = this.replacement === 'lru' ? this.used : this.filled;
    const oldest = set.reduce((left, right) => (order.get(left!)! < order.get(right!)! ? left : right));
    return set.indexOf(oldest);
  }

  private follow(number: number, path: string, from: number, ways: number): number {
    if (ways === 1) return from;
    const side = this.lastSide.get(`${number}${path}`) === 'L' ? 'R' : 'L';
    return this.follow(number, path + side, from + (side === 'R' ? ways / 2 : 0), ways / 2);
  }

  private use(number: number, way: number): void {
    this.clock += 1;
    this.used.set(this.sets[number]![way]!, this.clock);
    let path = '';
    for (let ways = this.sets[number]!.length, at = way; ways > 1; ways /= 2) {
      const side = at < ways / 2 ? 'L' : 'R';
      this.lastSide.set(`${number}${path}`, side);
      path += side;
      at %= ways / 2;
    }
  }
}

/** Tags that collide in their low bits, in the low 32 bits, and not at all. */
const tag = fc.oneof(
  fc.nat(20),
  fc.nat(20).map((low) => low + 2 ** 32),
  fc.integer({ min: 0, max: 2 ** 36 - 1 }),
);

test.each<Replacement>(['lru', 'roundRobin', 'plru'])(
  'lookup, removal and %s agree with a naive model, also for tags beyond 32 bits',
  (replacement) => {
    const action = fc.record({
      kind: fc.constantFrom('access', 'access', 'access', 'access', 'refill', 'drop', 'sweep', 'all'),
      domain: fc.constantFrom(0, 1, 65_535),
      tag,
      length: fc.nat(40),
    });
    const geometry = fc.constantFrom([1, 1], [16, 4], [13, 4], [4, 16], [32, 32], [12, 2], [64, 8]);
    fc.assert(
      fc.property(geometry, fc.array(action, { maxLength: 300 }), ([entries, ways], actions) => {
        const array = new AssociativeArray(entries, ways, { replacement });
        const values = new Float64Array(array.size);
        const naive = new NaiveArray(entries, ways, replacement);
        let next = 0;
        for (const step of actions) {
          const expected = step.kind === 'access' ? naive.find(step.domain, step.tag) : undefined;
          if (step.kind === 'access') {
            const entry = array.find(step.domain, step.tag);
            expect(entry === NO_ENTRY ? undefined : values[entry]).toBe(expected);
          }
          if (step.kind === 'refill' || (step.kind === 'access' && expected === undefined)) {
            next += 1;
            values[array.fill(step.domain, step.tag)] = next;
            naive.fill(step.domain, step.tag, next);
          } else if (step.kind !== 'access') {
            const first = step.kind === 'drop' ? step.tag : 0;
            const last = step.kind === 'drop' ? step.tag + step.length : Infinity;
            const domain = step.kind === 'all' ? -1 : step.domain;
            array.drop(domain, first, last);
            naive.drop(domain, first, last);
          }
          expect(array.count).toBe(naive.count);
        }
      }),
      { numRuns: 200 },
    );
  },
);

test.each<Replacement>(['lru', 'roundRobin', 'plru'])(
  '%s: of full sets the naive model’s entry gives way',
  (replacement) => {
    const action = fc.record({ fills: fc.boolean(), tag: fc.nat(30) });
    const geometry = fc.constantFrom([4, 4], [8, 8], [8, 4], [16, 4]);
    fc.assert(
      fc.property(geometry, fc.array(action, { minLength: 60, maxLength: 200 }), ([entries, ways], actions) => {
        const array = new AssociativeArray(entries, ways, { replacement });
        const naive = new NaiveArray(entries, ways, replacement);
        for (const [index, { fills, tag: wanted }] of actions.entries()) {
          if (fills) {
            array.fill(1, wanted);
            naive.fill(1, wanted, index);
          } else expect(array.find(1, wanted) !== NO_ENTRY).toBe(naive.find(1, wanted) !== undefined);
        }
      }),
      { numRuns: 200, seed: 4 },
    );
  },
);

test.each<[Replacement, number]>([
  ['lru', 2],
  ['roundRobin', 1],
  ['plru', 3],
])('%s: of four filled in order, the first used again, number %i gives way', (replacement, victim) => {
  const array = new AssociativeArray(4, 4, { replacement });
  for (const tag of [1, 2, 3, 4]) array.fill(0, tag);
  array.find(0, 1);
  array.fill(0, 5);
  expect([1, 2, 3, 4].filter((tag) => array.find(0, tag) === NO_ENTRY)).toEqual([victim]);
});

test('an array without entries holds nothing', () => {
  const array = new AssociativeArray(0, 8);
  expect(array.fill(1, 5)).toBe(NO_ENTRY);
  expect(array.find(1, 5)).toBe(NO_ENTRY);
  array.drop(-1, 0, Infinity);
  expect(array.count).toBe(0);
});
