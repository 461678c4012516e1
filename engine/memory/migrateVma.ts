/**
 * Pages of a process on their way between RAM and a device's memory (Linux mm/migrate_device.c: `migrate_vma_setup`, `migrate_vma_pages`,
 * `migrate_vma_finalize`). Setup tells mirrors and puts migration entries in place of what can move; the driver copies; then each page
 * that has a place gets it, and the others get their old entry back. Whoever needs a page meanwhile waits until the driver is done.
 * A page comes to rest in one of two ways: coherent, an ordinary entry that names the device's memory, which CPU and peers reach; or
 * private, no entry for the CPU, whose next access brings the page back (`do_swap_page`, `migrate_to_ram`).
 * Leaves out: pages that were never touched, huge ones as such, pages of files, pages that several page tables hold.
 */
import type { AddressSpace, PageMigration } from './addressSpace.ts';
import { PTE_MIGRATION, PTE_PRESENT } from './cpuPageTable.ts';

/** A page that can move. */
export interface MigrationSource {
  readonly page: number;
  readonly frame: number;
}

/** Entry of a page that lies in a device's private memory. */
export class DevicePrivatePage implements PageMigration {
  readonly owner: object;
  private readonly bringBack: () => void;

  /** `bringBack`: when it returns the page has an entry again. */
  constructor(owner: object, bringBack: () => void) {
    this.owner = owner;
    this.bringBack = bringBack;
  }

  finish(): void {
    this.bringBack();
  }
}

export class MigrateVma {
  readonly sources: MigrationSource[] = [];
  private readonly mm: AddressSpace;
  private readonly wait: () => void;

  /** `wait`: when it returns the migration is finalized. */
  constructor(mm: AddressSpace, wait: () => void) {
    this.mm = mm;
    this.wait = wait;
  }

  /** Collects the pages of [start, start + count) for which `moves` and nobody else holds. */
  setup(start: number, count: number, moves: (frame: number) => boolean): void {
    const { mm, sources } = this;
    const end = start + count;
    mm.invalidate(start, end, 'migrate', () => {
      for (let page = mm.table.next(start, end); page < end; page = mm.table.next(page + 1, end)) {
        const flags = mm.table.flagsOf(page);
        const frame = mm.table.pageOf(page);
        const isPrivate = mm.migrations.get(page) instanceof DevicePrivatePage;
        if (mm.areas.find(page)?.kind !== 'anonymous' || frame === mm.pages.zeroPage) continue;
        if (((flags & PTE_PRESENT) === 0 && !isPrivate) || mm.pages.references(frame) !== 1 || !moves(frame)) continue;
        mm.table.set(page, frame, (flags & ~PTE_PRESENT) | PTE_MIGRATION);
        mm.migrations.set(page, this.underWay(page));
        sources.push({ page, frame });
      }
    });
  }

  /** Gives a page its new place, which it has one reference to; `rest` is its entry there, null an ordinary one. */
  place({ page, frame }: MigrationSource, target: number, rest: DevicePrivatePage | null): void {
    const { mm } = this;
    if (mm.pages.isDirty(frame)) mm.pages.markDirty(target);
    this.settle(page, target, rest);
    mm.pages.release(frame);
  }

  /** Leaves a page where it was. */
  restore({ page, frame }: MigrationSource, rest: DevicePrivatePage | null): void {
    this.settle(page, frame, rest);
  }

  /** Whoever needs the page waits, and where it then lies in private memory, has it brought back. */
  private underWay(page: number): PageMigration {
    const { migrations } = this.mm;
    const record = {
      finish: () => {
        this.wait();
        const now = migrations.get(page);
        if (now !== record) now?.finish();
      },
    };
    return record;
  }

  private settle(page: number, frame: number, rest: DevicePrivatePage | null): void {
    const { table, migrations } = this.mm;
    // the entry may have been write-protected on the way
    const flags = table.flagsOf(page);
    if (rest === null) {
      migrations.delete(page);
      table.set(page, frame, (flags & ~PTE_MIGRATION) | PTE_PRESENT);
    } else {
      migrations.set(page, rest);
      table.set(page, frame, flags);
    }
  }
}
