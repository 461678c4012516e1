/**
 * The bits of a page-table entry by the names of their specification: what a field is called, where it lies, and what its value
 * says. For people who look at an entry; nothing that translates reads it.
 * Leaves out: fields wider than 53 bits, of which no format has any.
 */
export interface EntryPlace {
  /** Of an entry that is absent only the bits say something that make it so. */
  readonly present: boolean;
  readonly leaf: boolean;
  /** Of the table that holds the entry; 0 has the smallest pages. */
  readonly level: number;
}

export interface BitField {
  readonly high: number;
  readonly low: number;
  readonly name: string;
  /** In words; '' where the value says nothing here. */
  readonly says: (value: number, place: EntryPlace) => string;
  /** Left out: in entries of both kinds. */
  readonly where?: 'leaf' | 'table';
  /** It is one of those that make an entry present. */
  readonly gate?: true;
}

/** A field as it stands in one entry. */
export interface EntryField {
  readonly high: number;
  readonly low: number;
  readonly name: string;
  readonly value: number;
  readonly meaning: string;
}

const ADDRESS = 'ADDR';
const UNNAMED = 'ignored';
const LOW_WORD = 2 ** 32;

export function bit(
  at: number,
  name: string,
  set: string,
  clear: string,
  where?: NonNullable<BitField['where']>,
): BitField {
  const field = { high: at, low: at, name, says: (value: number) => (value === 1 ? set : clear) };
  return where === undefined ? field : { ...field, where };
}

/** A bit that makes an entry present, or absent. */
export function gate(at: number, name: string, set: string, clear: string): BitField {
  return { ...bit(at, name, set, clear), gate: true };
}

/** Bits of the address from `low` up: what they point at follows from the entry's kind. */
export function address(high: number, low: number, name = ADDRESS, lowest = low): BitField {
  return {
    high,
    low,
    name,
    says: (value, { leaf }) => `${leaf ? 'page' : 'table'} at 0x${(value * 2 ** lowest).toString(16)}`,
  };
}

/** The fields of an entry from bit 63 down to bit 0; bits that no field names stand as ignored, so none is missing. */
export function decode(fields: readonly BitField[], low: number, high: number, place: EntryPlace): EntryField[] {
  const here = fields
    .filter(({ where }) => where === undefined || where === (place.leaf ? 'leaf' : 'table'))
    .toSorted((one, other) => other.high - one.high);
  const decoded: EntryField[] = [];
  let next = 63;
  const unnamed = (down: number): void => {
    if (next >= down) {
      decoded.push({ high: next, low: down, name: UNNAMED, value: bitsOf(low, high, next, down), meaning: '' });
    }
  };
  for (const field of here) {
    unnamed(field.high + 1);
    const value = bitsOf(low, high, field.high, field.low);
    const meaning = place.present || field.gate === true ? field.says(value, place) : '';
    decoded.push({ high: field.high, low: field.low, name: field.name, value, meaning });
    next = field.low - 1;
  }
  unnamed(0);
  return decoded;
}

/** All the bits of an entry, as a hexadecimal number of sixteen digits. */
export function entryText(low: number, high: number): string {
  const word = (value: number): string => (value >>> 0).toString(16).padStart(8, '0');
  return `0x${word(high)}${word(low)}`;
}

function bitsOf(low: number, high: number, from: number, to: number): number {
  const whole = BigInt(high >>> 0) * BigInt(LOW_WORD) + BigInt(low >>> 0);
  return Number((whole >> BigInt(to)) & ((1n << BigInt(from - to + 1)) - 1n));
}
