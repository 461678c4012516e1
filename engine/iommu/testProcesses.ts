/**
 * For tests: a device of each vendor that sends requests for two processes and for none, over a first stage, a second stage, both or neither,
 * with the entries that lead to its tables written bit by bit.
 */
import { FrameAllocator } from '../memory/frameAllocator.ts';
import { PhysicalMemory } from '../memory/physicalMemory.ts';
import type { IommuVendor } from './architectures.ts';
import { AMD_V1 } from './formats/amdV1.ts';
import { AMD_V2 } from './formats/amdV2.ts';
import { ARM_STAGE1_4K } from './formats/armStage1.ts';
import { ARM_STAGE2_4K } from './formats/armStage2.ts';
import { writeEntry } from './formats/naiveTables.ts';
import type { PageTableFormat } from './formats/pageTableFormat.ts';
import { RISCV_SV } from './formats/riscvSv.ts';
import { RISCV_SVX4 } from './formats/riscvSvx4.ts';
import { VTD_FIRST_STAGE } from './formats/vtdFirstStage.ts';
import { VTD_SECOND_STAGE } from './formats/vtdSecondStage.ts';
import { LINUX_DIRECTORY, writeDeviceContext } from './riscv/deviceDirectory.ts';
import { writeProcessContext } from './riscv/processDirectory.ts';
import { allocateContextTable, writeContextDescriptor } from './smmu/contextDescriptor.ts';
import {
  allocateStreamTable,
  CONFIG_NESTED,
  CONFIG_STAGE_1,
  CONFIG_STAGE_2,
  LINUX_STREAM_TABLE,
  writeStreamTableEntry,
} from './smmu/streamTable.ts';

export type Stages = 'first' | 'second' | 'both';

const MEMORY_PAGES = 2 ** 14;
/** Pages that the leaves of tests map; everything above holds tables, and maps to itself in a second stage. */
export const LEAF_PAGES = 512;
const FIRST_TABLE_PAGE = 2 ** 13;
const LEVELS = 4;
export const DEVICE = 0x0108;
const DOMAIN = 0x21;
export const PASIDS = [3, 70] as const;

const FIRST: Readonly<Record<IommuVendor, PageTableFormat>> = {
  vtd: VTD_FIRST_STAGE,
  amd: AMD_V2,
  smmuv3: ARM_STAGE1_4K,
  riscv: RISCV_SV,
};
const SECOND: Readonly<Record<IommuVendor, PageTableFormat>> = {
  vtd: VTD_SECOND_STAGE,
  amd: AMD_V1,
  smmuv3: ARM_STAGE2_4K,
  riscv: RISCV_SVX4,
};

/** Tables whose leaves can be written one by one; of a format that counts them, clean and unused. */
export class LeafTables {
  readonly root: number;
  readonly format: PageTableFormat;
  private readonly memory: PhysicalMemory;
  private readonly tables = new Map<string, number>();
  private readonly frames: FrameAllocator;

  constructor(memory: PhysicalMemory, frames: FrameAllocator, format: PageTableFormat) {
    this.memory = memory;
    this.frames = frames;
    this.format = format;
    this.root = frames.allocateContiguous(16, 16);
  }

  /** `permissions` 0: absent. `fresh`: as software writes it that lets the hardware count accesses. */
  write(page: number, target: number, permissions: number, fresh: boolean): void {
    const { format } = this;
    let table = this.root;
    for (let level = LEVELS - 1; level > 0; level -= 1) {
      const index = Math.floor(page / 512 ** level) % 512;
      const name = `${level} ${Math.floor(page / 512 ** level)}`;
      let next = this.tables.get(name);
      if (next === undefined) {
        next = this.frames.allocatePage();
        this.tables.set(name, next);
        this.put(table, index, format.tableLow(next, level), format.tableHigh(next));
      }
      table = next;
    }
    if (permissions === 0) this.put(table, page % 512, 0, 0);
    else {
      const low = format.leafLow(target, 0, 1, permissions);
      const kept = format.accessedBit | (format.dirtyModifier === 0 ? format.dirtyBit : 0);
      this.put(table, page % 512, fresh ? low & ~kept : low, format.leafHigh(target, 0, 1, permissions));
    }
  }

  /** The low word of a page's leaf. */
  lowOf(page: number): number {
    return this.memory.readWord(this.tables.get(`1 ${Math.floor(page / 512)}`)!, (page % 512) * 2);
  }

  private put(table: number, index: number, low: number, high: number): void {
    this.memory.writeWord(table, index * 2, low >>> 0);
    this.memory.writeWord(table, index * 2 + 1, high >>> 0);
  }
}

export interface ProcessMachine {
  readonly memory: PhysicalMemory;
  readonly frames: FrameAllocator;
  readonly root: number;
  /** By process, in the order of PASIDS; where there is no first stage, nobody's. */
  readonly first: readonly LeafTables[];
  readonly second: LeafTables;
}

export function processMachine(vendor: IommuVendor, stages: Stages): ProcessMachine {
  const memory = new PhysicalMemory(MEMORY_PAGES * 4096);
  const frames = new FrameAllocator(memory, FIRST_TABLE_PAGE, MEMORY_PAGES - FIRST_TABLE_PAGE);
  const first = PASIDS.map(() => new LeafTables(memory, frames, FIRST[vendor]));
  const second = new LeafTables(memory, frames, SECOND[vendor]);
  for (let page = FIRST_TABLE_PAGE; page < MEMORY_PAGES; page += 1) second.write(page, page, 3, false);
  const machine = { memory, frames, first, second };
  const place = { vtd: placeVtd, amd: placeAmd, smmuv3: placeSmmu, riscv: placeRiscv }[vendor];
  return { ...machine, root: place(machine, stages) };
}

type Place = (machine: Omit<ProcessMachine, 'root'>, stages: Stages) => number;

const address = (page: number): bigint => BigInt(page) << 12n;

const placeVtd: Place = ({ memory, frames, first, second }, stages) => {
  const [root, context, directory] = [frames.allocatePage(), frames.allocatePage(), frames.allocatePage()];
  const type = { first: 1n, second: 2n, both: 3n }[stages];
  writeEntry(memory, root, (DEVICE >> 8) * 2, address(context) | 1n);
  // PASIDs are allowed, requests without one are those of the first process
  writeEntry(memory, context, (DEVICE & 127) * 4, address(directory) | 0xdn);
  writeEntry(memory, context, (DEVICE & 127) * 4 + 1, BigInt(PASIDS[0]));
  for (const [index, pasid] of PASIDS.entries()) {
    const table = frames.allocatePage();
    writeEntry(memory, directory, pasid >> 6, address(table) | 1n);
    const at = (pasid & 63) * 8;
    writeEntry(memory, table, at, address(second.root) | (type << 6n) | (2n << 2n) | 1n);
    writeEntry(memory, table, at + 1, BigInt(DOMAIN));
    writeEntry(memory, table, at + 2, address(first[index]!.root));
  }
  return root;
};

const placeAmd: Place = ({ memory, frames, first, second }, stages) => {
  const table = frames.allocateContiguous(512, 512);
  const gcr3 = frames.allocatePage();
  const mode = stages === 'first' ? 0n : 4n;
  const at = (DEVICE % 128) * 4;
  const guest = stages === 'second' ? 0n : 3n << 54n;
  const low = 3n | (mode << 9n) | address(second.root) | guest | (BigInt(gcr3 & 7) << 58n) | (3n << 61n);
  writeEntry(memory, table + (DEVICE >> 7), at, low);
  writeEntry(memory, table + (DEVICE >> 7), at + 1, BigInt(DOMAIN) | (BigInt(gcr3 >> 3) << 16n) | (1n << 32n));
  for (const [index, pasid] of PASIDS.entries()) writeEntry(memory, gcr3, pasid, address(first[index]!.root) | 1n);
  writeEntry(memory, gcr3, 0, address(first[0]!.root) | 1n);
  return table;
};

const placeSmmu: Place = ({ memory, frames, first, second }, stages) => {
  const table = allocateStreamTable(frames, LINUX_STREAM_TABLE);
  const contexts = allocateContextTable(frames, 0, 7);
  for (const [index, substream] of [0, ...PASIDS].entries()) {
    writeContextDescriptor(memory, frames, contexts, substream, {
      asid: 40 + Math.max(0, index - 1),
      tablePage: first[Math.max(0, index - 1)]!.root,
      addressBits: 48,
      granule: 0,
      setsAccessFlag: true,
      setsDirtyState: true,
    });
  }
  writeStreamTableEntry(memory, frames, table, LINUX_STREAM_TABLE, DEVICE, {
    config: { first: CONFIG_STAGE_1, second: CONFIG_STAGE_2, both: CONFIG_NESTED }[stages],
    ats: true,
    ...(stages === 'second' ? {} : { stage1: { contextPage: contexts.page, format: 0, log2Contexts: 7 } }),
    ...(stages === 'first'
      ? {}
      : { stage2: { vmid: DOMAIN, tablePage: second.root, addressBits: 48, startLevel: 2, granule: 0 } }),
  });
  return table;
};

const placeRiscv: Place = ({ memory, frames, first, second }, stages) => {
  const [root, directory] = [frames.allocatePage(), frames.allocatePage()];
  for (const [index, processId] of [0, ...PASIDS].entries()) {
    const process = Math.max(0, index - 1);
    const context = { pscid: 40 + process, tablePage: first[process]!.root, levels: LEVELS };
    writeProcessContext(memory, frames, directory, 1, processId, context);
  }
  writeDeviceContext(memory, frames, root, LINUX_DIRECTORY, DEVICE, {
    ...(stages === 'first' ? {} : { secondLevels: LEVELS, secondTablePage: second.root, gscid: DOMAIN }),
    ...(stages === 'second'
      ? {}
      : {
          processDirectory: true,
          firstLevels: 1,
          firstPage: directory,
          processZeroByDefault: true,
          firstUpdates: true,
        }),
    ats: true,
  });
  return root;
};
