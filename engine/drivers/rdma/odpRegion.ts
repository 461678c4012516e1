/**
 * An explicit on-demand region of an adapter, and one piece of an implicit one (Linux drivers/infiniband/hw/mlx5/odp.c: `populate_mtt`,
 * `mlx5_ib_invalidate_range`): the list of the process's pages, and the adapter's table that follows it. What goes is taken from the adapter first,
 * in blocks of entries as a work request writes them, and from the IOMMU after it: else the adapter would use addresses that are gone.
 * Leaves out: blocks of more than a work request holds (1 MiB of entries).
 */
import { MTT_READ, MTT_WRITE } from '../../devices/nicPageFaults.ts';
import { ENOMEM } from '../../dma/errno.ts';
import type { Invalidate, InvalidationRange } from '../../memory/intervalNotifier.ts';
import { HMM_PFN_VALID, HMM_PFN_WRITE } from '../../memory/hmmPfn.ts';
import type { EntryRange } from '../../schemes/pageScheme.ts';
import type { Cpu } from '../../time/cpu.ts';
import type { EventQueue } from '../../time/eventQueue.ts';
import type { OdpAdapter } from './odpAdapter.ts';
import { UmemOdp, type OdpWalk, type UmemOdpOptions } from './umemOdp.ts';

/** Entries of 8 bytes in the 64 that a work request writes at least (`MLX5_UMR_MTT_ALIGNMENT`). */
const ENTRIES_PER_BLOCK = 8;

export interface OdpRegionOptions {
  readonly key: number;
  readonly adapter: OdpAdapter;
  readonly events: EventQueue;
  readonly cpu: Cpu;
  readonly umem: UmemOdpOptions;
}

export class OdpRegion {
  readonly key: number;
  readonly umem: UmemOdp;
  /** Faults and prefetches that are being served; a region with any is not torn down. */
  users = 0;
  /** No fault is served any more. */
  dying = false;
  /** After an invalidation that left no page. */
  onEmpty: (() => void) | null = null;
  protected readonly options: OdpRegionOptions;

  protected constructor(options: OdpRegionOptions, umem: UmemOdp) {
    this.options = options;
    this.key = options.key;
    this.umem = umem;
  }

  /** A region that the adapter knows, without any page; or a negative errno, after which nothing is held. */
  static create(options: OdpRegionOptions): OdpRegion | number {
    const { cpu, umem: memory, adapter, key } = options;
    const made: { region: OdpRegion | null } = { region: null };
    const invalidate: Invalidate = (range, sequence) => made.region?.invalidate(range, sequence) ?? true;
    const umem = UmemOdp.get(cpu, memory, invalidate);
    if (typeof umem === 'number') return umem;
    made.region = new this(options, umem);
    adapter.addRegion(key, memory.start, memory.pages);
    return made.region;
  }

  /** Fills the adapter's table from the list, mutex held (`mlx5r_umr_update_xlt`, `populate_mtt`): 0 or a negative errno. */
  fill(walk: OdpWalk): number {
    const { cpu, adapter } = this.options;
    const { umem, key } = this;
    const { firstPage, pages, request } = walk;
    const { scheme } = umem;
    const first = firstPage - umem.start;
    const addresses = new Float64Array(pages);
    const access = new Uint8Array(pages);
    if (scheme.mapPages(cpu, first, pages, addresses) !== 0) return ENOMEM;
    const { flags } = scheme.pfns;
    for (let index = 0; index < pages; index += 1) {
      const had = flags[first + index]!;
      if ((had & HMM_PFN_VALID) === 0) continue;
      // who asked to read only gets no more, though the process may write
      access[index] = (had & HMM_PFN_WRITE) !== 0 && request.write ? MTT_READ | MTT_WRITE : MTT_READ;
    }
    adapter.writeEntries(key, firstPage, addresses, access, pages);
    cpu.spend(adapter.updateTime(pages));
    return 0;
  }

  /** Everything goes: the adapter's table, the mappings, the place. */
  destroy(): void {
    const { cpu, adapter } = this.options;
    const { umem, key } = this;
    this.dying = true;
    umem.lock();
    this.takeAway(0, umem.pages);
    umem.unlock();
    umem.release(cpu);
    adapter.removeRegion(key);
  }

  private invalidate(range: InvalidationRange, sequence: number): boolean {
    if (!range.blockable) return false;
    const { umem } = this;
    umem.lock();
    umem.setSequence(sequence);
    const first = Math.max(0, range.start - umem.start);
    this.takeAway(first, Math.min(umem.pages, range.end - umem.start));
    umem.unlock();
    if (this.onEmpty !== null && umem.scheme.mapped === 0) this.onEmpty();
    return true;
  }

  /** Entries [first, end): from the adapter, then from the IOMMU. */
  protected takeAway(first: number, end: number): void {
    const { cpu, events } = this.options;
    const range = { first, end };
    this.umem.scheme.widen(range);
    cpu.begin(events.now);
    this.stopDevice(range);
    this.umem.unmapPages(cpu, range, first, end);
  }

  /** A work request for each run of entries, which ends only where a block does. */
  protected stopDevice({ first, end }: EntryRange): void {
    const { flags } = this.umem.scheme.pfns;
    let block = -1;
    for (let index = first; index < end; index += 1) {
      if ((flags[index]! & HMM_PFN_VALID) !== 0) {
        if (block === -1) block = index;
      } else if (block !== -1 && index % ENTRIES_PER_BLOCK === 0) {
        this.zap(block, index);
        block = -1;
      }
    }
    if (block !== -1) this.zap(block, end);
  }

  private zap(first: number, end: number): void {
    const { adapter, cpu, events } = this.options;
    cpu.spend(adapter.updateTime(end - first));
    adapter.zap(this.key, this.umem.start + first, end - first);
    // the work request completes when what was under way has arrived
    cpu.begin(events.now);
  }
}
