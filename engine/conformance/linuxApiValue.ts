/**
 * The values of a recorded API call: JSON as the recording's kernel module prints it, with addresses as hexadecimal text and
 * numbers exact beyond 2^53. What the emulator did is written down in the same form, so that one comparison serves every
 * field of every call.
 */
export type ApiValue = string | number | bigint | boolean | null | readonly ApiValue[] | ApiFields;

export interface ApiFields {
  readonly [name: string]: ApiValue;
}

const SIXTY_FOUR_BITS = 64;
const SHOWN_LENGTH = 400;

/** An address or mask as the kernel prints it; a negative number is its two's complement in 64 bits. */
export function hexadecimal(value: number | bigint): string {
  return `0x${BigInt.asUintN(SIXTY_FOUR_BITS, BigInt(value)).toString(16)}`;
}

/** A whole number as the recording's reader has it: of any size, and exact. */
export function exactNumber(digits: string): number | bigint {
  const exact = BigInt(digits);
  const number = Number(exact);
  return Number.isSafeInteger(number) ? number : exact;
}

/** Where two values differ first; null: nowhere. `path` is the empty string for the values themselves. */
export interface ValueDifference {
  readonly path: string;
  /** Undefined: the recording has no such value. */
  readonly recorded: ApiValue | undefined;
  readonly emulated: ApiValue | undefined;
}

export function differenceOf(
  recorded: ApiValue | undefined,
  emulated: ApiValue | undefined,
  path = '',
): ValueDifference | null {
  if (recorded === emulated) return null;
  if (isList(recorded) && isList(emulated)) {
    const length = Math.max(recorded.length, emulated.length);
    for (let index = 0; index < length; index += 1) {
      const found = differenceOf(recorded[index], emulated[index], `${path}[${index}]`);
      if (found !== null) return found;
    }
    return null;
  }
  if (isFields(recorded) && isFields(emulated)) {
    for (const name of new Set([...Object.keys(recorded), ...Object.keys(emulated)])) {
      const found = differenceOf(
        member(recorded, name),
        member(emulated, name),
        path === '' ? name : `${path}.${name}`,
      );
      if (found !== null) return found;
    }
    return null;
  }
  return { path, recorded, emulated };
}

function member(fields: ApiFields, name: string): ApiValue | undefined {
  return Object.hasOwn(fields, name) ? fields[name] : undefined;
}

export function isList(value: ApiValue | undefined): value is readonly ApiValue[] {
  return Array.isArray(value);
}

export function isFields(value: ApiValue | undefined): value is ApiFields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** For people, and short. */
export function describeValue(value: ApiValue | undefined): string {
  if (value === undefined) return 'nothing';
  const text = JSON.stringify(value, (_name, part: unknown) => (typeof part === 'bigint' ? part.toString() : part));
  return text.length > SHOWN_LENGTH ? `${text.slice(0, SHOWN_LENGTH)}...` : text;
}
