/**
 * A job file of fio, as plain records (fio's HOWTO: "Job file format", "Parameter types", and the options named below). `[global]` sections
 * hold for the jobs behind them; every other section is a job. Options that decide what a drive and the mapping of its buffers see are read;
 * others are named in a warning, and those that would change what is asked for so much that a run would mislead are refused.
 * Leaves out: arithmetic, environment variables, `include`, profiles; the form of options on a command line.
 * Input may be hostile: sizes are bounded, nothing is looked up outside the text, and a bad line ends in a sentence that names it.
 */
import { LabError } from '../time/labError.ts';
import {
  fioBoolean,
  fioBytes,
  fioCount,
  fioPercent,
  fioSeconds,
  sectionsOf,
  type FioOption,
  type FioSection,
} from './fioValues.ts';

export type FioPattern = 'read' | 'write' | 'randread' | 'randwrite' | 'readwrite' | 'randrw';

export interface FioJob {
  readonly name: string;
  /** Line of its section. */
  readonly line: number;
  readonly pattern: FioPattern;
  /** Reads among 100 I/Os of a mixed pattern. */
  readonly readPercent: number;
  /** One or several sizes, by weight. */
  readonly blockSizes: readonly { readonly bytes: number; readonly weight: number }[];
  readonly queueDepth: number;
  /** Clones of the job, each a process with a queue of its own. */
  readonly clones: number;
  /** The part of the drive that its I/Os fall into; null: all of it, or `sizePercent`. */
  readonly regionBytes: number | null;
  readonly regionPercent: number | null;
  /** What ends a clone: so many I/Os, so many bytes, so many seconds; null: none of its own. */
  readonly ioCount: number | null;
  readonly ioBytes: number | null;
  readonly seconds: number | null;
  readonly timeBased: boolean;
  /** Buffers that the kernel has mapped beforehand (`fixedbufs` of io_uring). */
  readonly registeredBuffers: boolean;
  /** Buffers lie in huge pages (`iomem=mmaphuge`, `shmhuge`). */
  readonly hugeBuffers: boolean;
  /** Devices or files, in order. */
  readonly files: readonly string[];
  readonly seed: number | null;
}

export interface FioWarning {
  readonly line: number;
  readonly text: string;
}

export interface FioJobFile {
  readonly jobs: readonly FioJob[];
  readonly warnings: readonly FioWarning[];
}

const DEFAULT_BLOCK_BYTES = 4096;
const MOST_CLONES = 4096;
const MOST_DEPTH = 65_536;

const PATTERNS: Readonly<Record<string, FioPattern>> = {
  read: 'read',
  write: 'write',
  randread: 'randread',
  randwrite: 'randwrite',
  rw: 'readwrite',
  readwrite: 'readwrite',
  randrw: 'randrw',
};

/** Options with the same meaning. */
const ALIASES: Readonly<Record<string, string>> = {
  readwrite: 'rw',
  blocksize: 'bs',
  blocksize_range: 'bsrange',
  mem: 'iomem',
  io_limit: 'io_size',
  name: 'description',
};

/** What changes nothing that a drive or a mapping sees. */
const WITHOUT_EFFECT: ReadonlySet<string> = new Set([
  'description',
  'group_reporting',
  'thread',
  'randrepeat',
  'norandommap',
  'invalidate',
  'refill_buffers',
  'ramp_time',
  'log_avg_msec',
  'write_bw_log',
  'write_lat_log',
  'write_iops_log',
  'percentile_list',
  'lat_percentiles',
  'clat_percentiles',
  'disable_lat',
  'disable_clat',
  'disable_slat',
  'gtod_reduce',
  'eta',
  'unified_rw_reporting',
  'exitall',
  'allrandrepeat',
  'create_on_open',
  'directory',
  'filename_format',
  'filesize',
  'fallocate',
  'overwrite',
  'unlink',
  'end_fsync',
  'fsync_on_close',
  'iodepth_batch_complete_min',
  'lockmem',
  'random_generator',
  'cpus_allowed_policy',
  'new_group',
  'registerfiles',
]);

/** What would make of the job something else than these records say, and why. */
const REFUSED: Readonly<Record<string, string>> = {
  include: 'it reads another file. Put its lines in this one.',
  read_iolog: 'it replays a log in place of a pattern. Give the pattern with rw.',
  zonemode: 'zoned drives are not emulated. Leave it out.',
  profile: 'profiles bring options of their own. Write them out.',
};

export function parseFioJobs(text: string, file: string): FioJobFile {
  const warnings: FioWarning[] = [];
  const jobs: FioJob[] = [];
  let globals: FioOption[] = [];
  for (const section of sectionsOf(text, file)) {
    if (section.name === 'global') globals = [...globals, ...section.options];
    else jobs.push(new JobReader(file, section, globals, warnings).read());
  }
  if (jobs.length === 0) {
    throw new LabError(file, 'this fio job file has no job.', 'Add a section such as [job1] behind [global].');
  }
  const seen = new Set<string>();
  const unique = warnings.filter(({ line, text: said }) => {
    const key = `${line} ${said}`;
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
  return { jobs, warnings: unique };
}

/** Whether a text is a job file: its first line that says something is the head of a section. */
export function looksLikeFioJobs(text: string): boolean {
  const first = /^(?:[ \t]*(?:[#;][^\n]*)?\r?\n)*[ \t]*([^\n]*)/u.exec(text.slice(0, 65_536))?.[1] ?? '';
  return /^\[[^\]\s][^\]]*\]\s*$/u.test(first.trim());
}

class JobReader {
  private readonly file: string;
  private readonly section: FioSection;
  private readonly warnings: FioWarning[];
  private readonly options = new Map<string, FioOption>();

  constructor(file: string, section: FioSection, globals: readonly FioOption[], warnings: FioWarning[]) {
    this.file = file;
    this.section = section;
    this.warnings = warnings;
    for (const option of [...globals, ...section.options]) {
      // `readwrite` is an option and a value
      const name = ALIASES[option.name] ?? option.name;
      this.options.set(name, { ...option, name });
    }
  }

  read(): FioJob {
    const job: FioJob = {
      name: this.section.name,
      line: this.section.line,
      pattern: this.pattern(),
      readPercent: this.readPercent(),
      blockSizes: this.blockSizes(),
      queueDepth: this.number('iodepth', 1, MOST_DEPTH) ?? 1,
      clones: this.number('numjobs', 1, MOST_CLONES) ?? 1,
      ...this.region(),
      ioCount: this.number('number_ios', 1, 2 ** 50),
      ioBytes: this.bytes('io_size'),
      seconds: this.seconds(),
      timeBased: this.flag('time_based'),
      registeredBuffers: this.flag('fixedbufs'),
      hugeBuffers: this.huge(),
      files: (this.take('filename')?.value ?? '').split(':').filter((name) => name !== ''),
      seed: this.number('randseed', 0, Number.MAX_SAFE_INTEGER),
    };
    this.engine(job);
    this.pageCache();
    for (const option of this.options.values()) this.leftOver(option);
    return job;
  }

  private pattern(): FioPattern {
    const option = this.take('rw');
    if (option === undefined) return 'read';
    const [name = '', modifier] = option.value.split(':');
    if (modifier !== undefined) this.warn(option, `of rw=${option.value} the modifier ":${modifier}" is not read`);
    const pattern = PATTERNS[name];
    if (pattern !== undefined) return pattern;
    throw this.flaw(
      option,
      name.includes('trim') ? 'trims are not emulated.' : `"${name}" is no pattern of fio.`,
      `Use one of ${Object.keys(PATTERNS).join(', ')}.`,
    );
  }

  private readPercent(): number {
    const reads = this.take('rwmixread');
    const writes = this.take('rwmixwrite');
    // as in fio, of the two the last one wins
    if (writes !== undefined && (reads === undefined || writes.line > reads.line)) {
      return 100 - fioPercent(writes, this.file);
    }
    return reads === undefined ? 50 : fioPercent(reads, this.file);
  }

  private blockSizes(): { readonly bytes: number; readonly weight: number }[] {
    const split = this.take('bssplit');
    const range = this.take('bsrange');
    const size = this.take('bs');
    if (split !== undefined) return this.splitSizes(split);
    if (range !== undefined) return this.rangeSizes(range);
    return [{ bytes: size === undefined ? DEFAULT_BLOCK_BYTES : this.sector(size, this.first(size)), weight: 1 }];
  }

  private splitSizes(option: FioOption): { readonly bytes: number; readonly weight: number }[] {
    const parts = this.first(option)
      .split(':')
      .map((part) => part.split('/'));
    const given = parts.map(([, percent]) => (percent === undefined || percent === '' ? null : Number(percent)));
    const rest = 100 - given.reduce<number>((sum, percent) => sum + (percent ?? 0), 0);
    const open = given.filter((percent) => percent === null).length;
    const sizes = parts.map(([size = ''], index) => ({
      bytes: this.sector(option, size),
      weight: Math.round(given[index] ?? rest / open),
    }));
    if (sizes.some(({ weight }) => !(weight >= 0)) || rest < 0) {
      throw this.flaw(option, 'its shares are more than 100 percent.', 'Write it as bssplit=4k/60:64k/40.');
    }
    return sizes.filter(({ weight }) => weight > 0);
  }

  /** fio draws any multiple of the smallest size: the powers of two between stand for them. */
  private rangeSizes(option: FioOption): { readonly bytes: number; readonly weight: number }[] {
    const [low = '', high = ''] = this.first(option).split('-');
    const smallest = this.sector(option, low);
    const largest = this.sector(option, high);
    if (largest < smallest)
      throw this.flaw(option, 'its end is smaller than its beginning.', 'Write it as bsrange=4k-64k.');
    const sizes: { bytes: number; weight: number }[] = [];
    for (let bytes = smallest; bytes < largest; bytes *= 2) sizes.push({ bytes, weight: 1 });
    return [...sizes, { bytes: largest, weight: 1 }];
  }

  private region(): { readonly regionBytes: number | null; readonly regionPercent: number | null } {
    const option = this.take('size');
    if (option === undefined) return { regionBytes: null, regionPercent: null };
    if (option.value.endsWith('%')) return { regionBytes: null, regionPercent: fioPercent(option, this.file) };
    return { regionBytes: fioBytes(option, option.value, this.file), regionPercent: null };
  }

  private huge(): boolean {
    const option = this.take('iomem');
    return option?.value.includes('huge') === true;
  }

  private seconds(): number | null {
    const option = this.take('runtime') ?? this.take('timeout');
    return option === undefined ? null : fioSeconds(option, this.file);
  }

  /** Engines differ in how deep they queue: those that wait for each I/O have a depth of one. */
  private engine(job: FioJob): void {
    const option = this.take('ioengine');
    const name = option?.value ?? 'psync';
    if (
      option !== undefined &&
      /^(null|cpuio|net|netsplice|rdma|http|filecreate|filestat|filedelete|exec)$/u.test(name)
    ) {
      throw this.flaw(option, `the engine ${name} makes no block I/O.`, 'Use io_uring or libaio.');
    }
    if (/^(psync|sync|vsync|pvsync|pvsync2|mmap)$/u.test(name) && job.queueDepth > 1) {
      const place = option ?? { name: 'ioengine', value: name, line: job.line };
      throw this.flaw(
        place,
        `the engine ${name} has one I/O in flight at most, and the job asks for iodepth=${job.queueDepth}.`,
        'Use ioengine=io_uring or libaio, or iodepth=1.',
      );
    }
    if (job.registeredBuffers && name !== 'io_uring' && name !== 'io_uring_cmd') {
      this.warnAt(job.line, `fixedbufs needs ioengine=io_uring; with ${name} nothing is registered`);
    }
  }

  private pageCache(): void {
    const direct = this.take('direct');
    const buffered = this.take('buffered');
    const isDirect =
      direct === undefined ? buffered !== undefined && !fioBoolean(buffered, this.file) : fioBoolean(direct, this.file);
    if (!isDirect) {
      const line = direct?.line ?? buffered?.line ?? this.section.line;
      this.warnAt(line, 'without direct=1 the I/O goes through the page cache, which is left out: here it is direct');
    }
  }

  private leftOver(option: FioOption): void {
    const reason = REFUSED[option.name];
    if (reason !== undefined) throw this.flaw(option, reason, '');
    if (!WITHOUT_EFFECT.has(option.name)) this.warn(option, `${option.name} is not read`);
  }

  private sector(option: FioOption, text: string): number {
    const bytes = fioBytes(option, text, this.file);
    if (bytes >= 512 && bytes % 512 === 0) return bytes;
    throw this.flaw(option, `${bytes} bytes are no whole number of sectors.`, 'Use multiples of 512.');
  }

  /** Of `reads,writes,trims`, where they differ only the first is read. */
  private first(option: FioOption): string {
    const parts = option.value.split(',').filter((part) => part !== '');
    if (new Set(parts).size > 1) this.warn(option, `${option.name}=${option.value}: writes get the size of reads`);
    return parts[0] ?? '';
  }

  private flag(name: string): boolean {
    const option = this.take(name);
    return option !== undefined && fioBoolean(option, this.file);
  }

  private number(name: string, least: number, most: number): number | null {
    const option = this.take(name);
    return option === undefined ? null : fioCount(option, this.file, least, most);
  }

  private bytes(name: string): number | null {
    const option = this.take(name);
    return option === undefined || option.value.endsWith('%') ? null : fioBytes(option, option.value, this.file);
  }

  private take(name: string): FioOption | undefined {
    const option = this.options.get(name);
    this.options.delete(name);
    return option;
  }

  private warn(option: FioOption, text: string): void {
    this.warnAt(option.line, text);
  }

  private warnAt(line: number, text: string): void {
    this.warnings.push({ line, text });
  }

  private flaw(option: FioOption, problem: string, remedy: string): LabError {
    return new LabError(`${this.file}:${option.line}`, `${option.name}: ${problem}`, remedy);
  }
}
