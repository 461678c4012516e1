/**
 * The bits of Address Translation Services on the link (PCI Express Base Specification 10.2 to 10.4). A doubleword pair is two
 * 32-bit words, low first.
 *
 * Translation completion entry: 63:12 translated address, 11 S (more than 4 KiB), 10 N (no snoop), 5 Global, 4 Priv, 3 Exe,
 * 2 U (untranslated requests only), 1 W, 0 R. With S the lowest clear bit from bit 12 up says the size: bit n clear is 2^(n+1) bytes.
 * Invalidate request body: 63:12 untranslated address, 11 S, 0 Global; the ITag (5 bits) and the PASID travel in the header.
 * Page request: 63:12 page address, 11:3 page request group index, 2 L (last of its group), 1 W, 0 R.
 * Page request group response: 15:12 response code, 8:0 group index.
 * Leaves out: AMA and CXL.io bits, execute requests.
 */
const LOW_PAGES = 2 ** 20;
const SIZE = 1 << 11;
const NO_SNOOP = 1 << 10;
const GLOBAL = 1 << 5;
const PRIVILEGED = 1 << 4;
const EXECUTE = 1 << 3;
const UNTRANSLATED_ONLY = 1 << 2;
const INVALIDATE_GLOBAL = 1;
const LAST_IN_GROUP = 1 << 2;
const GROUP_MASK = 0x1ff;
/** Pages of all 52 bits of page number. */
const EVERY_PAGE = 2 ** 52;

/** R and W, in both directions. */
export const ATS_READ = 1;
export const ATS_WRITE = 2;

/** Groups of page requests that one function may have outstanding: group indexes. */
export const PAGE_REQUEST_GROUPS = 512;

/** Response codes of a page request group. */
export const RESPONSE_SUCCESS = 0x0;
export const RESPONSE_INVALID = 0x1;
export const RESPONSE_FAILURE = 0xf;

/** One entry of a translation completion, written to or read from two words. */
export class TranslationEntry {
  /** The first page of the translation, and how many pages it has. */
  page = 0;
  pages = 1;
  /** ATS_READ, ATS_WRITE. Neither: no access. */
  permissions = 0;
  noSnoop = false;
  global = false;
  privileged = false;
  execute = false;
  untranslatedOnly = false;

  encode(words: Uint32Array, at: number): void {
    const address = this.page + (this.pages > 1 ? this.pages / 2 - 1 : 0);
    const flags =
      (this.pages > 1 ? SIZE : 0) |
      (this.noSnoop ? NO_SNOOP : 0) |
      (this.global ? GLOBAL : 0) |
      (this.privileged ? PRIVILEGED : 0) |
      (this.execute ? EXECUTE : 0) |
      (this.untranslatedOnly ? UNTRANSLATED_ONLY : 0);
    words[at] = (((address % LOW_PAGES) << 12) | flags | this.permissions) >>> 0;
    words[at + 1] = Math.floor(address / LOW_PAGES);
  }

  decode(words: Uint32Array, at: number): void {
    const low = words[at]!;
    const address = (low >>> 12) + words[at + 1]! * LOW_PAGES;
    this.pages = sizeOf(address, (low & SIZE) !== 0);
    this.page = address - (address % this.pages);
    this.permissions = low & (ATS_READ | ATS_WRITE);
    this.noSnoop = (low & NO_SNOOP) !== 0;
    this.global = (low & GLOBAL) !== 0;
    this.privileged = (low & PRIVILEGED) !== 0;
    this.execute = (low & EXECUTE) !== 0;
    this.untranslatedOnly = (low & UNTRANSLATED_ONLY) !== 0;
  }
}

/** The range of an invalidate request. */
export class InvalidateRange {
  firstPage = 0;
  /** A power of two; 2^52 stands for every page. */
  pages = 1;
  global = false;

  encode(words: Uint32Array, at: number): void {
    const address = this.firstPage + (this.pages > 1 ? this.pages / 2 - 1 : 0);
    const flags = (this.pages > 1 ? SIZE : 0) | (this.global ? INVALIDATE_GLOBAL : 0);
    words[at] = (((address % LOW_PAGES) << 12) | flags) >>> 0;
    words[at + 1] = Math.floor(address / LOW_PAGES);
  }

  decode(words: Uint32Array, at: number): void {
    const low = words[at]!;
    const address = (low >>> 12) + words[at + 1]! * LOW_PAGES;
    this.pages = sizeOf(address, (low & SIZE) !== 0);
    this.firstPage = address - (address % this.pages);
    this.global = (low & INVALIDATE_GLOBAL) !== 0;
  }
}

/** A page request message. */
export class PageRequest {
  page = 0;
  /** ATS_READ, ATS_WRITE. */
  access = 0;
  group = 0;
  last = true;

  encode(words: Uint32Array, at: number): void {
    const low = this.access | (this.last ? LAST_IN_GROUP : 0) | (this.group << 3);
    words[at] = (((this.page % LOW_PAGES) << 12) | low) >>> 0;
    words[at + 1] = Math.floor(this.page / LOW_PAGES);
  }

  decode(words: Uint32Array, at: number): void {
    const low = words[at]!;
    this.page = (low >>> 12) + words[at + 1]! * LOW_PAGES;
    this.access = low & (ATS_READ | ATS_WRITE);
    this.last = (low & LAST_IN_GROUP) !== 0;
    this.group = (low >>> 3) & GROUP_MASK;
  }
}

export function encodeGroupResponse(group: number, code: number): number {
  return (code << 12) | group;
}

export function groupOfResponse(word: number): number {
  return word & GROUP_MASK;
}

export function codeOfResponse(word: number): number {
  return word >>> 12;
}

/** Pages that a page number with size bit names: twice its run of low ones, at least two. */
function sizeOf(address: number, large: boolean): number {
  if (!large) return 1;
  let pages = 2;
  for (let rest = address; rest % 2 === 1 && pages < EVERY_PAGE; rest = Math.floor(rest / 2)) pages *= 2;
  return pages;
}
