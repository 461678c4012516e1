/** Addresses as people write them: hexadecimal, with or without `0x`. Pure text: the window reads its field with it too. */
export interface WrittenIova {
  /** Normalised: `0x` and small letters, without leading zeros. */
  readonly text: string;
  readonly page: number;
  readonly offset: number;
}

/** 64 bits. */
export const IOVA_DIGITS = 16;
const PAGE_DIGITS = 3;

/** Null: no address. Pages of 64-bit addresses are exact numbers, the addresses themselves would not be. */
export function parseIova(written: string): WrittenIova | null {
  const digits = /^(?:0x)?([0-9a-f]+)$/.exec(written.trim().toLowerCase())?.[1]?.replace(/^0+(?=.)/, '');
  if (digits === undefined || digits.length > IOVA_DIGITS) return null;
  const page = digits.slice(0, -PAGE_DIGITS);
  return {
    text: `0x${digits}`,
    page: page === '' ? 0 : Number.parseInt(page, 16),
    offset: Number.parseInt(digits.slice(-PAGE_DIGITS), 16),
  };
}

/** The address of a byte in a page; exact, since a page times a power of two is. */
export function addressOf(page: number, offset = 0): string {
  const head = page === 0 ? '' : page.toString(16);
  return `0x${(head + offset.toString(16).padStart(PAGE_DIGITS, '0')).replace(/^0+(?=.)/, '')}`;
}
