/** For tests: second-stage tables written entry by entry, apart from the page-table code that they help to check. */
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { writeContextEntry } from '../vtd/contextTable.ts';

const TEST_PAGES = 2 ** 20;

export class TestTables {
  readonly memory = new PhysicalMemory(TEST_PAGES * 4096);
  readonly frames = new FrameAllocator(this.memory, 1, TEST_PAGES - 1);
  readonly levels: 3 | 4;
  readonly root = this.frames.allocatePage();
  readonly deviceRoot = this.frames.allocatePage();

  constructor(levels: 3 | 4) {
    this.levels = levels;
  }

  /** Puts a leaf of a level at a page; `permissions`: bit 0 read, bit 1 write. */
  leaf(iovaPage: number, level: number, physPage: number, permissions: number): void {
    let table = this.root;
    for (let above = this.levels - 1; above > level; above -= 1) {
      const word = (Math.floor(iovaPage / 512 ** above) % 512) * 2;
      if (this.memory.readWord(table, word) === 0) {
        this.memory.writeWord(table, word, (this.frames.allocatePage() * 4096 + 3) % 2 ** 32);
      }
      table = Math.floor(this.memory.readWord(table, word) / 4096);
    }
    const word = (Math.floor(iovaPage / 512 ** level) % 512) * 2;
    this.memory.writeWord(table, word, ((physPage % 2 ** 20) * 4096 + (level > 0 ? 0x80 : 0) + permissions) % 2 ** 32);
    this.memory.writeWord(table, word + 1, Math.floor(physPage / 2 ** 20));
  }

  /** Clears whatever entry of level 0 a page has. */
  clear(iovaPage: number): void {
    this.leaf(iovaPage, 0, 0, 0);
  }

  /** Gives a device these tables as its domain. */
  attach(sourceId: number, domainId: number): void {
    const entry = { domainId, tablePage: this.root, levels: this.levels };
    writeContextEntry(this.memory, this.frames, this.deviceRoot, sourceId, entry);
  }
}
