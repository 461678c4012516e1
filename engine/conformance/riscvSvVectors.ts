/**
 * Recorded page walks as a file: one JSON object a line, gzip'd or plain, numbers in hex without 0x. `table`: mode, sade (whether
 * hardware sets accessed and dirty bits), root_ppn, mem (address and 8-byte word); `req`: iova, w, and ok 1 with pa and size (decimal)
 * or ok 0 with cause; `after`: diff (address and word) of what the requests changed. Input may be hostile: sizes are bounded, and every
 * number is checked before it becomes an address.
 */
import { z } from 'zod';
import { PAGE_SIZE } from '../memory/addresses.ts';
import { LabError } from '../time/labError.ts';
import { recordingText } from './recordingText.ts';

const MOST_WORDS = 1_000_000;
const LONGEST_LINE = 64 * 1024 * 1024;
/** What the emulated memory can be at most. */
const MEMORY_LIMIT = 2 ** 43;

export interface VectorFile {
  readonly name: string;
  readonly content: Uint8Array;
}

export interface VectorWord {
  readonly address: number;
  readonly word: bigint;
}

interface Placed {
  readonly line: number;
  /** An error that names this line. */
  readonly where: (problem: string, remedy: string) => LabError;
}

export type RiscvVector = Placed &
  (
    | {
        readonly kind: 'table';
        readonly mode: 'Sv39' | 'Sv48' | 'Sv57';
        readonly sade: boolean;
        readonly rootPage: number;
        readonly mem: readonly VectorWord[];
      }
    | {
        readonly kind: 'req';
        readonly page: number;
        readonly offset: number;
        readonly write: boolean;
        readonly answer:
          | { readonly ok: true; readonly phys: bigint; readonly size: number }
          | { readonly ok: false; readonly cause: number };
      }
    | { readonly kind: 'after'; readonly diff: readonly VectorWord[] }
  );

const hex = z.string().regex(/^[0-9a-fA-F]{1,16}$/, 'a number in hex, of at most 16 digits, without 0x');
const words = z.array(z.tuple([hex, hex])).max(MOST_WORDS);
const flag = z.union([z.literal(0), z.literal(1)]);
/** JSON numbers and strings of hex digits alike. */
const page = z.union([z.int().min(0).max(MEMORY_LIMIT), hex]);

const lineSchema = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('table'),
    mode: z.enum(['Sv39', 'Sv48', 'Sv57']),
    sade: flag,
    root_ppn: page,
    mem: words,
  }),
  z.object({
    kind: z.literal('req'),
    iova: hex,
    w: flag,
    ok: flag,
    pa: hex.optional(),
    size: z.int().min(PAGE_SIZE).optional(),
    cause: z.int().min(0).max(4095).optional(),
  }),
  z.object({ kind: z.literal('after'), diff: words }),
]);

/** The lines of a file, one by one; throws a LabError that names the line. */
export function* readVectors({ name, content }: VectorFile): Generator<RiscvVector> {
  const text = recordingText(name, content, 'recorded page walks');
  let line = 0;
  for (let start = 0; start < text.length;) {
    const end = text.indexOf('\n', start);
    const one = text.slice(start, end < 0 ? text.length : end).trim();
    start = end < 0 ? text.length : end + 1;
    line += 1;
    if (one !== '') yield parseVector(name, line, one);
  }
}

function parseVector(file: string, line: number, text: string): RiscvVector {
  const where = (problem: string, remedy: string): LabError =>
    new LabError(`${file}, line ${String(line)}`, problem, remedy);
  if (text.length > LONGEST_LINE) throw where('the line is too long.', 'Record a smaller table.');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw where('this is not JSON.', 'Copy the recording again.');
  }
  const parsed = lineSchema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw where(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not as expected'}.`, 'Copy the recording again.');
  }
  const { data } = parsed;
  const placed = { line, where };
  switch (data.kind) {
    case 'table': {
      const root = typeof data.root_ppn === 'number' ? data.root_ppn : Number(BigInt(`0x${data.root_ppn}`));
      const rootPage = inMemory(root * PAGE_SIZE, where) / PAGE_SIZE;
      const { mode, sade, mem } = data;
      return { ...placed, kind: 'table', mode, sade: sade === 1, rootPage, mem: wordsOf(mem, where) };
    }
    case 'req': {
      const address = BigInt(`0x${data.iova}`);
      const answer = answerOf(data, where);
      const offset = Number(address % BigInt(PAGE_SIZE));
      return { ...placed, kind: 'req', page: Number(address / BigInt(PAGE_SIZE)), offset, write: data.w === 1, answer };
    }
    case 'after':
      return { ...placed, kind: 'after', diff: wordsOf(data.diff, where) };
  }
}

type Request = Extract<z.output<typeof lineSchema>, { kind: 'req' }>;

function answerOf({ ok, pa, size, cause }: Request, where: Placed['where']) {
  if (ok === 1 && pa !== undefined && size !== undefined) return { ok: true, phys: BigInt(`0x${pa}`), size } as const;
  if (ok === 0 && cause !== undefined) return { ok: false, cause } as const;
  throw where('the answer is incomplete.', 'With ok 1 stand pa and size, with ok 0 the cause.');
}

function wordsOf(pairs: readonly (readonly [string, string])[], where: Placed['where']): VectorWord[] {
  return pairs.map(([address, word]) => ({
    address: inMemory(Number(BigInt(`0x${address}`)), where),
    word: BigInt(`0x${word}`),
  }));
}

function inMemory(address: number, where: Placed['where']): number {
  if (address % 8 === 0 && address < MEMORY_LIMIT) return address;
  throw where(`0x${address.toString(16)} is no place of a table.`, 'Tables lie on 8 bytes, below 8 TiB.');
}
