/**
 * Recordings of DMA API calls inside real kernels, made again: all of every call must come out. And that a recording which is
 * wrong is found out, whatever is wrong with it.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { LabError } from '../time/labError.ts';
import { RandomStream } from '../time/random.ts';
import { conformApiRecording, LINUX_API_SUITE } from './linuxApi.ts';
import type { ApiFiles } from './linuxApiFiles.ts';
import { API_WORDS } from './linuxApiWords.ts';
import { type FileResult, suiteResult } from './report.ts';

const FIXTURES = fileURLToPath(new URL('../../fixtures/recordings/linux-api/', import.meta.url));

function folders(): string[] {
  return readdirSync(FIXTURES).sort();
}

function recordingsOf(folder: string): string[] {
  return readdirSync(`${FIXTURES}${folder}`)
    .filter((name) => name.endsWith('.jsonl.gz'))
    .sort();
}

function fixture(folder: string, name: string): ApiFiles {
  const file = (other: string): string => readFileSync(`${FIXTURES}${folder}/${other}`, 'utf8');
  const recording = readFileSync(`${FIXTURES}${folder}/${name}`);
  return { name: `${folder}/${name}`, recording, runJson: file('run.json'), iomem: file('iomem.txt') };
}

function lines(files: ApiFiles): string[] {
  return gunzipSync(files.recording).toString().trimEnd().split('\n');
}

function withLines(files: ApiFiles, changed: readonly string[]): ApiFiles {
  return { ...files, recording: Buffer.from(`${changed.join('\n')}\n`) };
}

function skippedCount(result: FileResult): number {
  return result.skipped.reduce((total, { count }) => total + count, 0);
}

describe('recordings of real kernels', () => {
  it.each(folders())(
    '%s: all of every call comes out',
    (folder) => {
      for (const name of recordingsOf(folder)) {
        const files = fixture(folder, name);
        const result = conformApiRecording(files);
        expect(result.firstDifference, files.name).toBeNull();
        expect(result.agree).toBe(result.total);
        expect(result.agree + skippedCount(result)).toBe(lines(files).length);
      }
    },
    60_000,
  );

  it('use every word that is known, but the one for the direction back', () => {
    const used = new Set<string>();
    for (const folder of folders()) {
      for (const name of recordingsOf(folder)) {
        for (const line of lines(fixture(folder, name))) {
          used.add((JSON.parse(line) as { cmd: string }).cmd.split(' ')[0] ?? '');
        }
      }
    }
    expect([...API_WORDS.keys()].filter((word) => !used.has(word))).toEqual(['syncdev']);
  });

  it('are passed over only where nobody could foretell them, with the reason', () => {
    const suite = suiteResult(
      LINUX_API_SUITE,
      ['identity.edu_stale', 'identity.map_basic'].map((script) =>
        conformApiRecording(fixture(script.endsWith('stale') ? '7.3-edu' : '7.3', `${script}.jsonl.gz`)),
      ),
    );
    expect(suite.skipped.map(({ reason }) => reason).sort()).toEqual([
      'a remark of the script, no call',
      'an untranslated read of memory that firmware filled',
      'page numbers that the recorded machine chose: inputs of the replay',
    ]);
    expect(suite.skipped.find(({ reason }) => reason.startsWith('an untranslated'))?.count).toBe(1);
  });
});

/** Numbers and text of a record that say something: everything but what is an input, or time. */
function leaves(record: object): { readonly holder: Record<string, unknown>; readonly key: string }[] {
  const found: { holder: Record<string, unknown>; key: string }[] = [];
  const visit = (holder: object): void => {
    for (const [key, value] of Object.entries(holder)) {
      if (key === 'cmd' || key === 'i' || key === 'polls' || value === null) continue;
      if (typeof value === 'object') visit(value as object);
      else found.push({ holder: holder as Record<string, unknown>, key });
    }
  };
  visit(record);
  return found;
}

function altered(value: unknown): unknown {
  if (typeof value === 'number') return value >= 2 ** 53 ? value / 2 : value + 1;
  const text = String(value);
  const last = text.at(-1) ?? '';
  return `${text.slice(0, -1)}${last === '1' ? '2' : '1'}`;
}

type Mutation = (all: string[], at: number, random: RandomStream) => boolean;

interface Parsed {
  readonly cmd: string;
  ev?: unknown[][];
}

/** `SIZE_MAX` is no double: JSON.parse rounds it. */
function written(record: Parsed): string {
  return JSON.stringify(record).replaceAll(':18446744073709552000', ':18446744073709551615');
}

const MUTATIONS: Readonly<Record<string, Mutation>> = {
  'a value changed': (all, at, random) => {
    const record = JSON.parse(all[at] ?? '') as Parsed;
    const places = leaves(record);
    const place = places[random.below(Math.max(places.length, 1))];
    if (place === undefined) return false;
    place.holder[place.key] = altered(place.holder[place.key]);
    all[at] = written(record);
    return true;
  },
  'an event missing': (all, at, random) => {
    const record = JSON.parse(all[at] ?? '') as Parsed;
    if (record.ev === undefined || record.ev.length === 0) return false;
    record.ev.splice(random.below(record.ev.length), 1);
    all[at] = written(record);
    return true;
  },
  'two events exchanged': (all, at, random) => {
    const record = JSON.parse(all[at] ?? '') as Parsed;
    const { ev } = record;
    if (ev === undefined || ev.length < 2) return false;
    const first = random.below(ev.length - 1);
    const [one = [], two = []] = [ev[first], ev[first + 1]];
    if (JSON.stringify(one) === JSON.stringify(two)) return false;
    ev.splice(first, 2, two, one);
    all[at] = written(record);
    return true;
  },
  'an event doubled': (all, at, random) => {
    const record = JSON.parse(all[at] ?? '') as Parsed;
    const event = record.ev?.[random.below(Math.max(record.ev.length, 1))];
    if (event === undefined) return false;
    record.ev?.push(event);
    all[at] = written(record);
    return true;
  },
  'a record doubled': (all, at) => {
    all.splice(at, 0, all[at] ?? '');
    return true;
  },
  'a record missing': (all, at) => {
    if (at === 0 || at === all.length - 1) return false;
    all.splice(at, 1);
    return true;
  },
};

/** What the recorded machine chose is taken from the recording: changed, it is another machine's choice. */
const INPUTS = new Set(['pages', 'contig', 'coh', 'note']);

describe('a recording with', () => {
  const sources = [
    ['7.3', 'DMA.mix11.jsonl.gz', 'DMA-FQ.sg.jsonl.gz'],
    ['7.3-untrusted', 'DMA.untrusted.jsonl.gz'],
    ['7.3-edu', 'DMA-FQ.edu_stale.jsonl.gz'],
    ['7.3-cachingmode', 'DMA.link_basic.jsonl.gz'],
    ['7.3-amdiommu', 'DMA-FQ.link_errors.jsonl.gz'],
    ['7.3-noiommu-swiotlbforce', 'keep.map_basic.jsonl.gz'],
    ['6.12', 'DMA-FQ.env.jsonl.gz'],
    ['7.3-hmm2', 'identity.hmm2.jsonl.gz'],
  ] as const;
  const files = sources.flatMap(([folder, ...names]) =>
    names.filter((name) => recordingsOf(folder).includes(name)).map((name) => fixture(folder, name)),
  );

  it.each(Object.keys(MUTATIONS))(
    '%s does not agree',
    (what) => {
      const random = new RandomStream(11).fork(what);
      const mutate = MUTATIONS[what];
      for (const source of files) {
        const original = lines(source).slice(0, 400);
        expect(disagrees(withLines(source, original)), source.name).toBe(false);
        for (let round = 0, changes = 0; round < 40 && changes < 8; round += 1) {
          const all = [...original];
          const at = random.below(all.length);
          const word = (JSON.parse(all[at] ?? '') as Parsed).cmd.split(' ')[0] ?? '';
          if (INPUTS.has(word) || mutate?.(all, at, random) !== true) continue;
          changes += 1;
          expect(disagrees(withLines(source, all)), `${source.name}, line ${at + 1}: ${all[at]}`).toBe(true);
        }
      }
    },
    60_000,
  );
});

/** A difference, or a refusal: not agreement. */
function disagrees(files: ApiFiles): boolean {
  try {
    const result = conformApiRecording(files);
    return result.agree < result.total;
  } catch (error) {
    if (error instanceof LabError) return true;
    throw error;
  }
}

const PAGES = '{"i":0,"cmd":"pages A n=1","fn":"alloc_pages","order":0,"pfns":["0x109800"],"ev":[]}';
const CONTIGUOUS =
  '{"i":1,"cmd":"contig C n=64","fn":"alloc_pages","order":6,"contig":64,"first_pfn":"0x109880","ev":[]}';

/** A strict domain of 7.3, and commands of which nothing but the command is given. */
function commands(...texts: string[]): ApiFiles {
  const records = texts.map((cmd, at) => JSON.stringify({ i: at + 2, cmd, ev: [] }));
  return withLines(fixture('7.3', 'DMA.env.jsonl.gz'), [PAGES, CONTIGUOUS, ...records]);
}

describe('a recording of absurd numbers', () => {
  it.each([
    [
      'a size that no memory has',
      'map m phys=A[0] size=1000000000000000000 dir=0',
      /:3: .*size is larger than 1099511627776/,
    ],
    ['a size that is none', 'map m phys=A[0] size=-1 dir=0', /:3: .*size is no whole number/],
    ['a billion pages', 'pages B n=1000000000', /:3: .*n is larger than 1048576/],
    ['pages beyond all memory', 'contig B n=64', /:3: .*a page number is missing or too large/],
    ['a billion entries of HMM', 'hmmalloc M n=1000000000 entry=4096', /:3: .*n is larger than/],
    ['an address beyond all memory', 'map m phys=0xffffffffffffffff size=1 dir=0', /:3: .*beyond all memory/],
    ['a symbol that is none', 'map m phys=[] size=1 dir=0', /:3: .*"\[\]" is no address/],
    ['a direction that is none', 'map m phys=A[0] size=1 dir=3', /:3: .*dir is larger than 2/],
    ['a CPU that the machine lacks', 'cpu 7', /:3: .*the argument is larger than 0/],
    ['an option that is missing', 'map m phys=A[0] dir=0', /:3: .*it has no size=/],
    ['a call that names nothing', 'free', /:3: .*it names no object/],
    ['an endless list', `sg g dir=0 list=${'A[0]:1,'.repeat(70_000)}A[0]:1`, /:3: .*more than 65536 entries/],
  ])('%s is refused by line', (_what, command, message) => {
    expect(() => conformApiRecording(commands(command))).toThrow(LabError);
    expect(() => conformApiRecording(commands(command))).toThrow(message);
  });

  it('may fill memory a while, not for ever', () => {
    const poke = 'poke phys=C[0] size=67108864 val=1';
    expect(() => conformApiRecording(commands(poke, poke, poke, poke, poke))).toThrow(
      /:7: .*fills more than 268435456/,
    );
  });

  it('disagrees where the emulator can follow, and ends soon', () => {
    const huge = [
      'alloc S phys=A[0] size=0x7fffffffffffffff',
      'alloc S phys=A[0] size=1099511627776',
      'link S phys=C[0]+1 off=0 size=1099511627776 dir=0',
      'link S phys=C[0] off=0 size=1099511627776 dir=0',
      'unlink S off=0 size=1099511627776 dir=0',
      'destroy S len=1099511627776 dir=0',
      'map m phys=A[0] size=1099511627776 dir=0',
      'coh c size=1073741824',
      'mask 0',
      'map m phys=A[0] size=4096 dir=0',
      'walk m size=1099511627776',
      'sg g dir=0 set=C n=64 len=1073741824',
      'iod granule=4096 start=1 rcache=0',
      'ioda size=1099511627776 limit=1099511627776 aligned=1',
      'dance around',
    ];
    const { agree, total, firstDifference } = conformApiRecording(commands(...huge));
    expect(agree).toBe(0);
    expect(total).toBe(huge.length);
    expect(firstDifference?.line).toBe(3);
  }, 30_000);
});

describe('calls of which nobody knows where they ran', () => {
  const script = ['DMA-FQ.lazy.jsonl.gz', 'DMA-FQ.iova_smp.jsonl.gz'] as const;

  it('are not compared: a lazy domain on two CPUs, and no cpu line before the first call', () => {
    const twoCpus = fixture('7.3-smp2', script[1]).runJson;
    const files = { ...fixture('7.3', script[0]), runJson: twoCpus };
    const result = conformApiRecording(files);
    expect(result).toMatchObject({ agree: 0, total: 0, firstDifference: null });
    expect(result.skipped.map(({ reason }) => reason)).toContain(
      'a lazy domain on several CPUs, and the script does not say on which CPU a call ran',
    );
  });

  it('are compared where the script says so', () => {
    const result = conformApiRecording(fixture('7.3-smp2', script[1]));
    expect(result.total).toBeGreaterThan(1000);
  });
});
