/**
 * For tests: a cache of translations with the tags of guest and address space, as a plain list, and what each invalidation leaves of
 * it by the words of the specifications.
 */
import type { CacheInvalidation } from './cacheInvalidation.ts';
import { EVERY_SPACE } from './caches/owner.ts';

export interface TaggedEntry {
  readonly guest: number;
  readonly space: number;
  readonly page: number;
  /** A pointer to a table that covers `page`, not a translation. */
  readonly table: boolean;
}

export interface KeptDevice {
  readonly sourceId: number;
  readonly process: number;
}

export class TaggedCache implements CacheInvalidation {
  entries: TaggedEntry[] = [];
  devices: KeptDevice[] = [];

  dropAll(): void {
    this.entries = [];
  }

  dropSpace(guest: number, space: number): void {
    this.entries = this.entries.filter((one) => one.guest !== guest || (space !== EVERY_SPACE && one.space !== space));
  }

  dropRange(guest: number, space: number, firstPage: number, lastPage: number, leafOnly: boolean): void {
    this.entries = this.entries.filter(
      (one) =>
        one.guest !== guest ||
        (space !== EVERY_SPACE && one.space !== space) ||
        one.page < firstPage ||
        one.page > lastPage ||
        (leafOnly && one.table),
    );
  }

  dropDevices(sourceId: number, count: number, process: number): void {
    this.devices = this.devices.filter(
      (one) => one.sourceId < sourceId || one.sourceId >= sourceId + count || (process >= 0 && one.process !== process),
    );
  }

  dropAllDevices(): void {
    this.devices = [];
  }
}
