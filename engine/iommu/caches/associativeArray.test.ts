import fc from 'fast-check';
import { expect, test } from 'vitest';
import { AssociativeArray, NO_ENTRY } from './associativeArray.ts';

interface Entry {
  domain: number;
  tag: number;
  value: number;
}

/** Per set, a list in the order of use. */
class NaiveArray {
  readonly sets: Entry[][];
  readonly ways: number;

  constructor(entries: number, ways: number) {
    this.ways = Math.min(entries, ways);
    this.sets = Array.from({ length: Math.floor(entries / this.ways) }, () => []);
  }

  find(domain: number, tag: number): number | undefined {
    const set = this.sets[tag % this.sets.length]!;
    const index = set.findIndex((entry) => entry.domain === domain && entry.tag === tag);
    if (index < 0) return undefined;
    set.push(...set.splice(index, 1));
    return set.at(-1)!.value;
  }

  fill(domain: number, tag: number, value: number): void {
    const set = this.sets[tag % this.sets.length]!;
    const index = set.findIndex((entry) => entry.domain === domain && entry.tag === tag);
    if (index >= 0) set.splice(index, 1);
    else if (set.length === this.ways) set.shift();
    set.push({ domain, tag, value });
  }

  drop(domain: number, first: number, last: number): void {
    const hit = (entry: Entry): boolean =>
      (domain < 0 || entry.domain === domain) && entry.tag >= first && entry.tag <= last;
    for (const set of this.sets) set.splice(0, set.length, ...set.filter((entry) => !hit(entry)));
  }
}

/** Tags that collide in their low bits, in the low 32 bits, and not at all. */
const tag = fc.oneof(
  fc.nat(20),
  fc.nat(20).map((low) => low + 2 ** 32),
  fc.integer({ min: 0, max: 2 ** 36 - 1 }),
);

test('lookup, replacement and removal agree with a naive model, also for tags beyond 32 bits', () => {
  const action = fc.record({
    kind: fc.constantFrom('access', 'access', 'access', 'access', 'refill', 'drop', 'sweep', 'all'),
    domain: fc.constantFrom(0, 1, 65_535),
    tag,
    length: fc.nat(40),
  });
  const geometry = fc.constantFrom([1, 1], [16, 4], [13, 4], [4, 16], [32, 32], [12, 2]);
  fc.assert(
    fc.property(geometry, fc.array(action, { maxLength: 300 }), ([entries, ways], actions) => {
      const array = new AssociativeArray(entries, ways);
      const values = new Float64Array(array.size);
      const naive = new NaiveArray(entries, ways);
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
        expect(array.count).toBe(naive.sets.reduce((sum, set) => sum + set.length, 0));
      }
    }),
    { numRuns: 200 },
  );
});

test('an array without entries holds nothing', () => {
  const array = new AssociativeArray(0, 8);
  expect(array.fill(1, 5)).toBe(NO_ENTRY);
  expect(array.find(1, 5)).toBe(NO_ENTRY);
  array.drop(-1, 0, Infinity);
  expect(array.count).toBe(0);
});
