/**
 * A process's pages that a GPU's driver moves into its memory and back by the copy engine (Linux drivers/gpu/drm/amd/amdkfd/kfd_migrate.c
 * `svm_migrate_vma_to_vram`, `svm_migrate_vma_to_ram`, over mm/migrate_device.c; include/linux/memremap.h `MEMORY_DEVICE_PRIVATE`,
 * `MEMORY_DEVICE_COHERENT`). Coherent pages are the process's as RAM is, and peers' by P2PDMA; private ones have no address for
 * anybody but the GPU, so whoever else wants one finds it back in RAM.
 * Leaves out: choosing which pages to move, prefetch around a fault, private pages that keep an entry when the process forks.
 */
import { ENOMEM } from '../../dma/errno.ts';
import { runEventsUntil } from '../../dma/dmaBuf/reservation.ts';
import type { AddressSpace } from '../../memory/addressSpace.ts';
import { DevicePrivatePage, MigrateVma, type MigrationSource } from '../../memory/migrateVma.ts';
import type { Cpu } from '../../time/cpu.ts';
import { LabError } from '../../time/labError.ts';
import type { Picoseconds } from '../../time/picoseconds.ts';
import type { GpuDriver } from './gpuDriver.ts';

export type DeviceMemoryKind = 'private' | 'coherent';

/** A migration: under way until `finished`. */
export interface PageRun {
  finished: boolean;
  /** Pages that have changed their place. */
  moved: number;
}

type Rest = DevicePrivatePage | null;

export class ProcessPages {
  private readonly driver: GpuDriver;
  private readonly mm: AddressSpace;

  constructor(driver: GpuDriver, mm: AddressSpace) {
    this.driver = driver;
    this.mm = mm;
  }

  /** Whether a page of addresses lies in the GPU, and how. */
  kindOf(page: number): DeviceMemoryKind | 'elsewhere' {
    if (this.isPrivate(page)) return 'private';
    const { table } = this.mm;
    return table.flagsOf(page) !== 0 && this.inDevice(table.pageOf(page)) ? 'coherent' : 'elsewhere';
  }

  /** To the GPU, as far as it has room: pages that nobody pins or shares. A run, or -ENOMEM with all as it was. */
  toDevice(cpu: Cpu, start: number, count: number, kind: DeviceMemoryKind): PageRun | number {
    const { mm, driver } = this;
    const { blocks } = driver;
    const rest = (page: number): Rest => (kind === 'private' ? this.privateEntry(cpu, page) : null);
    const take = (): number => {
      if (blocks.freePages === 0) return -1;
      const page = blocks.allocatePage();
      mm.pages.adopt(page, (freed) => {
        blocks.freePage(freed);
      });
      return page;
    };
    return this.run(cpu, start, count, (frame) => this.isRam(frame), take, rest);
  }

  /** Back to RAM. A run, or -ENOMEM with all as it was. */
  toRam(cpu: Cpu, start: number, count: number): PageRun | number {
    const { pages } = this.mm;
    return this.run(
      cpu,
      start,
      count,
      (frame) => this.inDevice(frame),
      () => pages.allocate(),
      () => null,
    );
  }

  /** Lets time pass until a run has finished. */
  wait(cpu: Cpu, run: PageRun): void {
    const { events } = this.driver.gpu;
    if (runEventsUntil(() => run.finished, events, Infinity as Picoseconds) !== 'signalled') {
      throw new Error(`a migration of ${this.mm.name} never ends`);
    }
    cpu.waitUntil(events.now);
  }

  private run(
    cpu: Cpu,
    start: number,
    count: number,
    moves: (frame: number) => boolean,
    take: () => number,
    rest: (page: number) => Rest,
  ): PageRun | number {
    const { mm, driver } = this;
    const run: PageRun = { finished: false, moved: 0 };
    const migration = new MigrateVma(mm, () => {
      this.wait(cpu, run);
    });
    const wasPrivate = new Set<number>();
    for (let page = start; page < start + count; page += 1) if (this.isPrivate(page)) wasPrivate.add(page);
    const restore = (source: MigrationSource): void => {
      migration.restore(source, wasPrivate.has(source.page) ? this.privateEntry(cpu, source.page) : null);
    };
    migration.setup(start, count, moves);
    const moving: MigrationSource[] = [];
    const targets: number[] = [];
    for (const source of migration.sources) {
      const target = take();
      if (target < 0) {
        restore(source);
        continue;
      }
      moving.push(source);
      targets.push(target);
    }
    const giveUp = (): void => {
      for (const source of moving) restore(source);
      for (const target of targets) mm.pages.release(target);
    };
    if (moving.length === 0) {
      run.finished = true;
      return migration.sources.length === 0 ? run : ENOMEM;
    }
    const frames = moving.map(({ frame }) => frame);
    const error = driver.copyPages(cpu, frames, targets, (refused) => {
      if (refused > 0) giveUp();
      else moving.forEach((source, index) => migration.place(source, targets[index]!, rest(source.page)));
      run.moved = refused > 0 ? 0 : moving.length;
      run.finished = true;
    });
    if (error === 0) return run;
    giveUp();
    return error;
  }

  /** `migrate_to_ram`: whoever needs the page, other than the GPU, brings it back. */
  private privateEntry(cpu: Cpu, page: number): DevicePrivatePage {
    return new DevicePrivatePage(this, () => {
      const run = this.toRam(cpu, page, 1);
      if (typeof run === 'number') {
        throw new LabError(
          this.mm.name,
          'no RAM is left for a page that comes back from the GPU.',
          'Give it more memory.',
        );
      }
      this.wait(cpu, run);
    });
  }

  private isPrivate(page: number): boolean {
    const entry = this.mm.migrations.get(page);
    return entry instanceof DevicePrivatePage && entry.owner === this;
  }

  private inDevice(frame: number): boolean {
    const { firstPage, pages } = this.driver.gpu.memory;
    return frame >= firstPage && frame < firstPage + pages;
  }

  private isRam(frame: number): boolean {
    return (this.mm.pages.kinds?.providerOf(frame) ?? null) === null;
  }
}
