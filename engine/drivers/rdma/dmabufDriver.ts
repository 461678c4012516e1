/**
 * Regions over exported buffers, the driver's side: the first touch of each, and each touch after a move, is a fault of the adapter, which maps
 * the whole buffer again (Linux drivers/infiniband/hw/mlx5/odp.c: `pagefault_dmabuf_mr`).
 */
import type { Cpu } from '../../time/cpu.ts';
import type { EventHandler, EventQueue } from '../../time/eventQueue.ts';
import { nanoseconds, picoseconds, type Picoseconds } from '../../time/picoseconds.ts';
import type { OdpAdapter, OdpFault } from './odpAdapter.ts';
import { DmabufRegion, type DmabufRegionOptions } from './umemDmabuf.ts';

export interface DmabufDriverOptions {
  readonly adapter: OdpAdapter;
  readonly events: EventQueue;
  readonly cpu: Cpu;
  /** Interrupt, event queue and work queue, until the region is found. */
  readonly faultEntry: Picoseconds;
}

/** Whoever finds the buffer's lock held sleeps for about so long. */
const LOCK_WAIT = nanoseconds(1000);

export class DmabufDriver implements EventHandler {
  /** Why the last fault was refused, for people; empty: none was. */
  refusal = '';
  private readonly options: DmabufDriverOptions;
  private readonly regions = new Map<number, DmabufRegion>();
  private readonly waiting = new Map<number, OdpFault>();
  private nextKey = 1;

  constructor(options: DmabufDriverOptions) {
    this.options = options;
    options.adapter.onFault = (fault) => {
      const { cpu, events, faultEntry } = options;
      cpu.begin(events.now);
      cpu.spend(faultEntry);
      this.serve(fault);
    };
  }

  register(options: Omit<DmabufRegionOptions, 'adapter' | 'key'>): DmabufRegion | number {
    const key = this.nextKey;
    this.nextKey += 1;
    const region = DmabufRegion.get({ ...options, adapter: this.options.adapter, key });
    if (typeof region !== 'number') this.regions.set(key, region);
    return region;
  }

  deregister(region: DmabufRegion): void {
    const { cpu, events } = this.options;
    cpu.begin(events.now);
    this.regions.delete(region.key);
    region.destroy(cpu);
  }

  /** A fault that waited for a buffer's lock. */
  handleEvent(_kind: number, message: number): void {
    const fault = this.waiting.get(message)!;
    this.waiting.delete(message);
    this.options.cpu.begin(this.options.events.now);
    this.serve(fault);
  }

  private serve(fault: OdpFault): void {
    const { cpu, events, adapter } = this.options;
    const region = this.regions.get(fault.key);
    if (region?.isLocked === true) {
      this.waiting.set(fault.message, fault);
      const at = picoseconds(Math.max(cpu.now, events.now) + LOCK_WAIT);
      events.schedule(at, this, 0, fault.message);
      return;
    }
    // a region that has gone meanwhile needs nothing: the adapter looks again, and finds no key
    const error = region?.populate(cpu) ?? 0;
    if (error !== 0 && region !== undefined) this.refusal = region.refusal;
    adapter.resume(fault, error === 0, cpu.now);
  }
}
