/**
 * Places ranges in spaces: each power-of-two aligned, the most strictly aligned first and each as low as it fits, which is the order in
 * which Linux assigns PCI resources (drivers/pci/setup-bus.c `pdev_sort_resources`; kernel/resource.c `find_resource`).
 * Leaves out: moving what has been placed.
 */

/** What is to be placed, in bytes. */
export interface Placeable {
  readonly size: number;
  /** A power of two. */
  readonly alignment: number;
}

/** First and last byte. */
export interface AddressRange {
  readonly start: number;
  readonly end: number;
}

export interface Layout<Item> {
  /** Lowest byte of each item, in the order of placing. */
  readonly placed: readonly { readonly item: Item; readonly start: number }[];
  /** Items that fit nowhere. */
  readonly left: readonly Item[];
  /** One more than the last byte that is taken; 0: none is. */
  readonly endsAt: number;
}

/** `spaces` are disjoint and come in the order in which they are to be filled. */
export function layOut<Item extends Placeable>(items: readonly Item[], spaces: readonly AddressRange[]): Layout<Item> {
  let free = [...spaces];
  const placed: { item: Item; start: number }[] = [];
  const left: Item[] = [];
  let endsAt = 0;
  for (const item of [...items].sort((one, other) => other.alignment - one.alignment)) {
    const gap = free.find((range) => alignUp(range.start, item.alignment) + item.size - 1 <= range.end);
    if (gap === undefined) {
      left.push(item);
      continue;
    }
    const start = alignUp(gap.start, item.alignment);
    const end = start + item.size - 1;
    placed.push({ item, start });
    endsAt = Math.max(endsAt, end + 1);
    free = free.flatMap((range) => (range === gap ? without(range, { start, end }) : [range]));
  }
  return { placed, left, endsAt };
}

/** What remains of a range. */
export function without(range: AddressRange, taken: AddressRange): AddressRange[] {
  const below = { start: range.start, end: Math.min(range.end, taken.start - 1) };
  const above = { start: Math.max(range.start, taken.end + 1), end: range.end };
  return [below, above].filter(({ start, end }) => start <= end);
}

export function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}
