/**
 * Records that nobody can foretell from a recording's inputs, each with its reason, counted apart from what is compared:
 * remarks that are no call, the page numbers that the recorded machine's page allocator chose, what firmware left in memory,
 * and calls of which it is not recorded on which CPU they ran. Nothing else is passed over.
 */
import { CommandReader, wholeNumber } from './linuxApiObjects.ts';
import type { ApiRecord } from './linuxApiRecord.ts';
import type { ApiSystem } from './linuxApiSystem.ts';

export interface Unpredictable {
  readonly reason: string;
  /** Whether the call is made all the same, because later ones build on it. */
  readonly replayed: boolean;
  /** Whether what can be checked of it must hold. */
  readonly compared: boolean;
}

const REMARK: Unpredictable = { reason: 'a remark of the script, no call', replayed: false, compared: false };
const INPUT: Unpredictable = {
  reason: 'page numbers that the recorded machine chose: inputs of the replay',
  replayed: true,
  compared: true,
};
const UNPINNED: Unpredictable = {
  reason: 'a lazy domain on several CPUs, and the script does not say on which CPU a call ran',
  replayed: false,
  compared: false,
};
const FIRMWARE: Unpredictable = {
  reason: 'an untranslated read of memory that firmware filled',
  replayed: true,
  compared: false,
};

/** Words that neither allocate nor give back IOVA, so that it does not matter where they run. */
const ANYWHERE: ReadonlySet<string> = new Set([
  'pages',
  'contig',
  'cpu',
  'note',
  'env',
  'mask',
  'segsize',
  'segbound',
  'minalign',
  'untrusted',
]);

export class UnpredictableRecords {
  private readonly system: ApiSystem;
  private readonly unpinned: boolean;
  private readonly file: string;

  constructor(file: string, system: ApiSystem, records: readonly ApiRecord[]) {
    this.file = file;
    this.system = system;
    const firstCall = records.find((record) => !ANYWHERE.has(record.word));
    const pinned = records.find((record) => record.word === 'cpu');
    const pinnedFirst = firstCall === undefined || (pinned !== undefined && pinned.line < firstCall.line);
    this.unpinned = system.cpus > 1 && system.domain === 'lazy' && !pinnedFirst;
  }

  of(record: ApiRecord): Unpredictable | null {
    if (record.word === 'note') return REMARK;
    if (this.unpinned) return UNPINNED;
    if (record.word === 'pages' || record.word === 'contig') return INPUT;
    if (record.word === 'edurd' && this.readsFirmware(record)) return FIRMWARE;
    return null;
  }

  /** Without translation a bus address is a physical one, and the first page of memory is the firmware's. */
  private readsFirmware(record: ApiRecord): boolean {
    const { domain, iomem } = this.system;
    if (domain !== 'passthrough' && domain !== 'none') return false;
    const address = wholeNumber(new CommandReader(this.file, record).text('addr'));
    const first = iomem.reserved.find((region) => region.start === 0);
    return address !== null && first !== undefined && address <= first.end;
  }
}
