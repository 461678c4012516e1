/**
 * Page walks of the RISC-V IOMMU reference model (riscv-non-isa/riscv-iommu, iommu_ref_model), replayed: each table's words are put into
 * memory, and each request is walked from the root. A request agrees when it is granted or refused as recorded, with the same
 * address and size; what it changed in the tables stands in an `after` line, and one that does not come out fails the request before it.
 * Recorded requests were made with empty caches, so none are involved here.
 */
import { RISCV_SV } from '../iommu/formats/riscvSv.ts';
import { PAGES_PER_ENTRY } from '../iommu/formats/pageTableFormat.ts';
import { Walker } from '../iommu/walk/walker.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import { PhysicalMemory } from '../memory/physicalMemory.ts';
import { LabError } from '../time/labError.ts';
import type { Difference, FileResult } from './report.ts';
import { readVectors, type RiscvVector, type VectorFile, type VectorWord } from './riscvSvVectors.ts';

export const RISCV_SV_SUITE = 'riscv-sv';

const LEVELS = { Sv39: 3, Sv48: 4, Sv57: 5 } as const;
const CAUSE_READ = 13;
const CAUSE_WRITE = 15;
const DOMAIN = 0;

type Vector<Kind extends RiscvVector['kind']> = Extract<RiscvVector, { kind: Kind }>;

export function replayVectors(file: VectorFile): FileResult {
  const differences: Difference[] = [];
  let table: EmulatedTable | null = null;
  let agree = 0;
  let total = 0;
  /** Whether the last request agreed, so that an `after` line can take it back. */
  let lastAgreed = false;
  for (const vector of readVectors(file)) {
    if (vector.kind === 'table') table = new EmulatedTable(vector);
    else if (table === null) throw vector.where('there is no table yet.', 'Begin with a line of the kind "table".');
    else if (vector.kind === 'req') {
      const recorded = answerText(vector);
      const emulated = table.request(vector);
      lastAgreed = recorded === emulated;
      total += 1;
      if (lastAgreed) agree += 1;
      else differences.push({ line: vector.line, unit: requestText(vector), recorded, emulated });
    } else {
      const recorded = changesText(vector.diff);
      const emulated = changesText(table.changes());
      if (recorded === emulated) continue;
      if (total === 0) throw vector.where('words changed before the first request.', 'Record from the table on.');
      if (lastAgreed) agree -= 1;
      lastAgreed = false;
      const { line } = vector;
      differences.push({ line, unit: 'words changed by accessed and dirty bits', ...firstChange(recorded, emulated) });
    }
  }
  if (total === 0) {
    throw new LabError(
      file.name,
      'no request is in it, so that nothing can be compared.',
      'Record lines of the kind "req" after their "table".',
    );
  }
  return { name: file.name, agree, total, firstDifference: differences[0] ?? null, skipped: [] };
}

class EmulatedTable {
  private readonly memory: PhysicalMemory;
  private readonly walker: Walker;
  private readonly rootPage: number;
  private readonly levels: number;
  private readonly words: Map<number, bigint>;

  constructor({ mode, sade, rootPage, mem }: Vector<'table'>) {
    const last = mem.reduce((highest, { address }) => Math.max(highest, address), rootPage * PAGE_SIZE);
    this.memory = new PhysicalMemory((Math.floor(last / PAGE_SIZE) + 1) * PAGE_SIZE);
    this.walker = new Walker(this.memory, RISCV_SV, sade ? 'updated' : 'checked');
    this.rootPage = rootPage;
    this.levels = LEVELS[mode];
    this.words = new Map(mem.map(({ address, word }) => [address, word]));
    for (const { address, word } of mem) {
      const page = Math.floor(address / PAGE_SIZE);
      const index = (address % PAGE_SIZE) / 4;
      this.memory.writeWord(page, index, Number(word & 0xffff_ffffn));
      this.memory.writeWord(page, index + 1, Number(word >> 32n));
    }
  }

  request({ page, offset, write }: Vector<'req'>): string {
    const { walker, levels } = this;
    if (!walker.walkFromRoot(DOMAIN, page, write, this.rootPage, levels)) {
      return faultText(write ? CAUSE_WRITE : CAUSE_READ);
    }
    const phys = BigInt(walker.physPage(page)) * BigInt(PAGE_SIZE) + BigInt(offset);
    return grantText(phys, PAGES_PER_ENTRY[walker.level]! * PAGE_SIZE);
  }

  /** Words that differ from what they were at the table's line, or at the last `after` line, by address. */
  changes(): VectorWord[] {
    const changed: VectorWord[] = [];
    for (const [address, before] of this.words) {
      const page = Math.floor(address / PAGE_SIZE);
      const index = (address % PAGE_SIZE) / 4;
      const word = BigInt(this.memory.readWord(page, index)) | (BigInt(this.memory.readWord(page, index + 1)) << 32n);
      if (word === before) continue;
      this.words.set(address, word);
      changed.push({ address, word });
    }
    return changed;
  }
}

function requestText({ page, offset, write }: Vector<'req'>): string {
  const address = (BigInt(page) * BigInt(PAGE_SIZE) + BigInt(offset)).toString(16);
  return `${write ? 'write' : 'read'} at 0x${address}`;
}

function answerText(vector: Vector<'req'>): string {
  return vector.answer.ok ? grantText(vector.answer.phys, vector.answer.size) : faultText(vector.answer.cause);
}

function grantText(phys: bigint, size: number): string {
  return `0x${phys.toString(16)} in a page of ${String(size)} bytes`;
}

function faultText(cause: number): string {
  return `refused, cause ${String(cause)}`;
}

function changesText(words: readonly VectorWord[]): string {
  const sorted = [...words].sort((left, right) => left.address - right.address);
  return sorted.map(({ address, word }) => `${address.toString(16)}: ${word.toString(16)}`).join(', ');
}

/** Of two lists of changes, the first that is not in the other. */
function firstChange(recorded: string, emulated: string): { recorded: string | null; emulated: string | null } {
  const left = recorded.split(', ').filter((change) => change !== '');
  const right = emulated.split(', ').filter((change) => change !== '');
  return {
    recorded: left.find((change) => !right.includes(change)) ?? null,
    emulated: right.find((change) => !left.includes(change)) ?? null,
  };
}
