/**
 * An implicit on-demand region: one key over all addresses of a process (Linux drivers/infiniband/hw/mlx5/odp.c: `mlx5_ib_alloc_implicit_mr`,
 * `implicit_get_child_mr`, `pagefault_implicit_mr`, `free_implicit_child_mr_work`). The key points to a child for each GiB, which the first fault there
 * makes; the pointer is written when the child exists. A child whose last page goes is taken down later, by a work queue, unless it is in use again.
 */
import type { EventHandler, EventQueue } from '../../time/eventQueue.ts';
import { picoseconds } from '../../time/picoseconds.ts';
import type { Cpu } from '../../time/cpu.ts';
import type { OdpAdapter } from './odpAdapter.ts';
import type { OdpCosts } from './odpPopulate.ts';
import type { OdpRegion } from './odpRegion.ts';

/** `mlx5_imr_mtt_entries`: 1 GiB. */
export const CHILD_PAGES = 2 ** 18;

export interface OdpImplicitOptions {
  readonly key: number;
  readonly adapter: OdpAdapter;
  readonly events: EventQueue;
  readonly cpu: Cpu;
  readonly costs: OdpCosts;
  readonly childPages: number;
  /** A region of `childPages` from a page on, or a negative errno. */
  readonly createChild: (firstPage: number) => OdpRegion | number;
}

export class OdpImplicit implements EventHandler {
  readonly key: number;
  /** Children made, and taken down because they were empty. */
  created = 0;
  removed = 0;
  private readonly options: OdpImplicitOptions;
  /** By number of the piece. */
  private readonly children = new Map<number, OdpRegion>();

  constructor(options: OdpImplicitOptions) {
    this.options = options;
    this.key = options.key;
    options.adapter.addIndirectRegion(options.key, options.childPages);
  }

  get childCount(): number {
    return this.children.size;
  }

  /** The child that holds a page, made where there is none; or a negative errno. */
  childOf(page: number): OdpRegion | number {
    const { adapter, cpu, costs, childPages, createChild } = this.options;
    const piece = Math.floor(page / childPages);
    const held = this.children.get(piece);
    if (held !== undefined) return held;
    cpu.spend(costs.createKey);
    const child = createChild(piece * childPages);
    if (typeof child === 'number') return child;
    this.children.set(piece, child);
    this.created += 1;
    child.onEmpty = () => {
      this.scheduleRemoval(piece);
    };
    adapter.pointTo(this.key, piece, child.key);
    cpu.spend(adapter.updateTime(1));
    return child;
  }

  /** Of a piece: its turn in the work queue has come. */
  handleEvent(_kind: number, piece: number): void {
    const child = this.children.get(piece);
    if (child === undefined || child.users > 0 || child.umem.locked || child.umem.scheme.mapped > 0) return;
    this.options.cpu.begin(this.options.events.now);
    this.remove(piece, child);
    this.removed += 1;
  }

  destroy(): void {
    for (const [piece, child] of this.children) this.remove(piece, child);
    this.options.adapter.removeRegion(this.key);
  }

  private scheduleRemoval(piece: number): void {
    const { events, cpu } = this.options;
    events.schedule(picoseconds(Math.max(cpu.now, events.now)), this, 0, piece);
  }

  private remove(piece: number, child: OdpRegion): void {
    const { adapter, cpu } = this.options;
    // the parent lets go first: nobody finds a child that is on its way out
    adapter.pointTo(this.key, piece, null);
    cpu.spend(adapter.updateTime(1));
    this.children.delete(piece);
    child.destroy();
  }
}
