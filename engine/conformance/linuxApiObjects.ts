/**
 * What the commands of a recording name: sets of pages, mappings, two-step states, scatterlists, coherent memory, HMM maps
 * and saved addresses; and the symbols that stand for addresses (`A[3]+0x200`, `BAR0`, `OBJ:m+0x10`, a number).
 * Every number is bounded: a recording may be hostile.
 */
import type { DmaDirection } from '../dma/attributes.ts';
import type { CoherentMemory } from '../dma/coherentMemory.ts';
import type { HmmDmaMap } from '../dma/hmmDma.ts';
import type { ScatterList } from '../dma/scatterList.ts';
import type { DmaIovaState } from '../dma/twoStep.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import type { LabError } from '../time/labError.ts';
import { type ApiRecord, recordError } from './linuxApiRecord.ts';
import { hexadecimal, isList } from './linuxApiValue.ts';

/** No device of a recording moves more in one call; an emulated page table of more would not fit its memory. */
export const LARGEST_MAPPING = 2 ** 40;
const MOST_PAGES = 2 ** 20;
const HIGHEST_ADDRESS = 2 ** 52;
const MOST_ORDER = 18;

export interface MappingObject {
  readonly kind: 'mapping';
  readonly call: 'page' | 'phys' | 'resource';
  readonly address: number;
  readonly size: number;
  readonly direction: DmaDirection;
  readonly attributes: number;
}

export interface StateObject {
  readonly kind: 'state';
  readonly state: DmaIovaState;
}

export interface ListObject {
  readonly kind: 'list';
  readonly list: ScatterList;
  readonly direction: DmaDirection;
  readonly attributes: number;
  readonly bytes: number;
}

export interface CoherentObject {
  readonly kind: 'coherent';
  readonly memory: CoherentMemory;
  readonly size: number;
  /** The address as the recording has it: without translation it is where that machine's memory happened to be free. */
  readonly shownAddress: number;
}

export interface HmmObject {
  readonly kind: 'hmm';
  readonly map: HmmDmaMap;
}

export interface SavedObject {
  readonly kind: 'saved';
  readonly address: number;
}

export type ApiObject = MappingObject | StateObject | ListObject | CoherentObject | HmmObject | SavedObject;

/** Address of an object, for the machine and as the recording prints it. */
export interface ObjectAddress {
  readonly address: number;
  readonly shown: number;
  readonly size: number;
}

export function addressOf(object: ApiObject): ObjectAddress {
  switch (object.kind) {
    case 'mapping':
      return { address: object.address, shown: object.address, size: object.size };
    case 'state':
      return { address: object.state.address, shown: object.state.address, size: object.state.size };
    case 'list': {
      const address = object.list.dmaAddress[0] ?? 0;
      return { address, shown: address, size: object.bytes };
    }
    case 'coherent':
      return { address: object.memory.address, shown: object.shownAddress, size: object.size };
    case 'hmm':
      return { address: object.map.state.address, shown: object.map.state.address, size: object.map.state.size };
    case 'saved':
      return { address: object.address, shown: object.address, size: PAGE_SIZE };
  }
}

/** `pages` or `contig`: where the recorded machine had them, as runs of neighbouring pages [first, end). */
export interface PageSet {
  readonly runs: readonly PageRun[];
  /** `A[i]` is the first page of run i, or of a single run the page i. */
  readonly contiguous: boolean;
}

export interface PageRun {
  readonly first: number;
  readonly end: number;
}

/** Number of the page that `A[index]` begins with; null: there is none. */
export function pageAt(set: PageSet | undefined, index: number): number | null {
  const run = set?.runs[set.contiguous ? 0 : index];
  if (run === undefined) return null;
  if (set?.contiguous !== true) return run.first;
  return run.first + index < run.end ? run.first + index : null;
}

export class CommandReader {
  readonly record: ApiRecord;
  private readonly file: string;

  constructor(file: string, record: ApiRecord) {
    this.file = file;
    this.record = record;
  }

  error(problem: string, remedy = 'Copy the recording again, or correct the command.'): LabError {
    return recordError(this.file, this.record.line, `"${this.record.command.slice(0, 120)}": ${problem}`, remedy);
  }

  /** The name that the command gives to what it makes or uses. */
  get name(): string {
    const name = this.record.names[0];
    if (name === undefined) throw this.error('it names no object.');
    return name;
  }

  has(option: string): boolean {
    return this.record.options.has(option);
  }

  text(option: string): string {
    const text = this.record.options.get(option);
    if (text === undefined) throw this.error(`it has no ${option}=.`);
    return text;
  }

  /** A number from 0 to `most`. */
  number(option: string, most: number, otherwise?: number): number {
    if (otherwise !== undefined && !this.has(option)) return otherwise;
    return this.bounded(option, this.text(option), most);
  }

  /** A number beside the options, such as `mask 64`. */
  argument(most: number): number {
    return this.bounded('the argument', this.name, most);
  }

  bytes(option: string, otherwise?: number): number {
    return this.number(option, LARGEST_MAPPING, otherwise);
  }

  direction(): DmaDirection {
    const value = this.number('dir', 2);
    return value as DmaDirection;
  }

  attributes(): number {
    return this.number('attrs', 0xffff_ffff, 0);
  }

  private bounded(what: string, text: string, most: number): number {
    const value = wholeNumber(text);
    if (value === null) throw this.error(`${what} is no whole number.`);
    if (value > most) throw this.error(`${what} is larger than ${most}, the largest that is replayed.`);
    return value;
  }
}

export function wholeNumber(text: string): number | null {
  return /^(0x[0-9a-fA-F]{1,16}|\d{1,20})$/.test(text) ? Number(text) : null;
}

export class ApiObjects {
  readonly sets = new Map<string, PageSet>();
  readonly objects = new Map<string, ApiObject>();
  private readonly bar0: number | null;

  constructor(bar0: number | null) {
    this.bar0 = bar0;
  }

  /** The object of this name, if it is of this kind. */
  find<K extends ApiObject['kind']>(name: string, kind: K): Extract<ApiObject, { kind: K }> | null {
    const object = this.objects.get(name);
    return object?.kind === kind ? (object as Extract<ApiObject, { kind: K }>) : null;
  }

  /** An address by symbol; null when it names nothing. */
  resolve(command: CommandReader, symbol: string): ObjectAddress | null {
    const parts =
      /^(OBJ:[^+]+|[A-Za-z]\w*\[\d{1,7}\]|[A-Za-z]\w*|0x[0-9a-fA-F]{1,16}|\d{1,20})(?:\+(0x[0-9a-fA-F]{1,13}|\d{1,15}))?$/.exec(
        symbol,
      );
    const base = parts?.[1];
    if (base === undefined) throw command.error(`"${symbol.slice(0, 80)}" is no address.`);
    const offset = wholeNumber(parts?.[2] ?? '0') ?? 0;
    const found = this.base(base);
    if (found === null) return null;
    if (found.address + offset >= HIGHEST_ADDRESS) throw command.error('the address lies beyond all memory.');
    return { address: found.address + offset, shown: found.shown + offset, size: found.size };
  }

  private base(symbol: string): ObjectAddress | null {
    if (symbol.startsWith('OBJ:')) {
      const object = this.objects.get(symbol.slice('OBJ:'.length));
      return object === undefined ? null : addressOf(object);
    }
    const number = wholeNumber(symbol);
    if (number !== null) return { address: number, shown: number, size: PAGE_SIZE };
    if (symbol === 'BAR0') return this.bar0 === null ? null : { address: this.bar0, shown: this.bar0, size: PAGE_SIZE };
    const member = /^(\w+)\[(\d+)\]$/.exec(symbol);
    const page = pageAt(this.sets.get(member?.[1] ?? ''), Number(member?.[2]));
    if (page === null) return null;
    return { address: page * PAGE_SIZE, shown: page * PAGE_SIZE, size: PAGE_SIZE };
  }
}

/** What `pages` or `contig` gave: page numbers are the recording's to say, all else must be as asked. */
export function pageSet(command: CommandReader): { readonly set: PageSet; readonly fields: ApiRecord['fields'] } {
  const count = command.number('n', MOST_PAGES);
  const { fields } = command.record;
  if (command.record.word === 'contig') {
    const order = Math.ceil(Math.log2(Math.max(count, 1)));
    const first = pageNumber(command, fields['first_pfn']);
    return {
      set: { runs: [{ first, end: first + count }], contiguous: true },
      fields: { fn: 'alloc_pages', order, contig: count, first_pfn: hexadecimal(first) },
    };
  }
  const order = command.number('order', MOST_ORDER, 0);
  const pfns = fields['pfns'];
  if (!isList(pfns) || pfns.length !== count) throw command.error(`its "pfns" are not ${count} page numbers.`);
  const firstPages = pfns.map((pfn) => pageNumber(command, pfn));
  return {
    set: { runs: firstPages.map((first) => ({ first, end: first + 2 ** order })), contiguous: false },
    fields: { fn: 'alloc_pages', order, pfns: firstPages.map((page) => hexadecimal(page)) },
  };
}

function pageNumber(command: CommandReader, value: unknown): number {
  const page = typeof value === 'string' ? wholeNumber(value) : null;
  if (page === null || page >= HIGHEST_ADDRESS / PAGE_SIZE)
    throw command.error('a page number is missing or too large.');
  return page;
}
