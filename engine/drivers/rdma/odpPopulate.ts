/**
 * One piece of a region brought to the adapter (Linux drivers/infiniband/hw/mlx5/odp.c: `pagefault_real_mr`): the process's pages are read, the
 * mutex taken, and if nothing has changed in between the adapter's table is filled under it. What overtakes a fault does so between the two halves,
 * which are two events, the second when the CPU has finished the first.
 */
import { EAGAIN } from '../../memory/memoryErrors.ts';
import type { Cpu } from '../../time/cpu.ts';
import type { EventHandler, EventQueue } from '../../time/eventQueue.ts';
import { picoseconds, type Picoseconds } from '../../time/picoseconds.ts';
import type { OdpRegion } from './odpRegion.ts';
import type { OdpMapRequest, OdpWalk } from './umemOdp.ts';

/** All in picoseconds; what the DMA API and the adapter's work requests take comes on top. */
export interface OdpCosts {
  /** Interrupt, event queue and work queue, until the region is found. */
  readonly faultEntry: Picoseconds;
  /** `hmm_range_fault`, each page of the range. */
  readonly rangeFaultPerPage: Picoseconds;
  /** Each page that the process did not have yet. */
  readonly minorFault: Picoseconds;
  /** Each page that had to be read from the swap area. */
  readonly majorFault: Picoseconds;
  /** A call of `ibv_advise_mr`, until the region is found. */
  readonly advise: Picoseconds;
  /** A key made for a piece of an implicit region. */
  readonly createKey: Picoseconds;
}

export interface OdpPopulateOptions {
  readonly events: EventQueue;
  readonly cpu: Cpu;
  readonly costs: OdpCosts;
}

const LOCK = 0;
const READ = 1;

export class OdpPopulate implements EventHandler {
  /** Times that a second half found that the pages had changed. */
  retries = 0;
  private readonly options: OdpPopulateOptions;
  private readonly region: OdpRegion;
  private readonly walk: OdpWalk;
  private readonly done: (result: number) => void;

  private constructor(options: OdpPopulateOptions, region: OdpRegion, walk: OdpWalk, done: (result: number) => void) {
    this.options = options;
    this.region = region;
    this.walk = walk;
    this.done = done;
  }

  /** `done` is told once: pages, or a negative errno; -EAGAIN: the region is on its way out, and whoever faulted may fault again. */
  static start(
    options: OdpPopulateOptions,
    region: OdpRegion,
    request: OdpMapRequest,
    done: (result: number) => void,
  ): void {
    if (region.dying) {
      done(EAGAIN);
      return;
    }
    const walk = region.umem.begin(options.cpu, request);
    if (typeof walk === 'number') {
      done(walk);
      return;
    }
    region.users += 1;
    const finish = (result: number): void => {
      region.users -= 1;
      done(result);
    };
    new OdpPopulate(options, region, walk, finish).read();
  }

  handleEvent(kind: number): void {
    this.options.cpu.begin(this.options.events.now);
    // the region went while this waited for its turn
    if (this.region.dying) this.done(EAGAIN);
    else if (kind === LOCK) this.lock();
    else this.read();
  }

  private read(): void {
    const { cpu, costs } = this.options;
    const { umem } = this.region;
    const { mm } = umem;
    const faults = mm.faults;
    const majorFaults = mm.majorFaults;
    const ret = umem.read(cpu, this.walk);
    const major = mm.majorFaults - majorFaults;
    const minor = mm.faults - faults - major;
    if (ret === EAGAIN) {
      // who is woken runs when whoever woke it has finished
      mm.notifiers.whenSettled(() => {
        this.goOn(READ);
      });
      return;
    }
    cpu.spend(
      picoseconds(this.walk.pages * costs.rangeFaultPerPage + minor * costs.minorFault + major * costs.majorFault),
    );
    if (ret === 0) this.goOn(LOCK);
    else this.done(ret);
  }

  private lock(): void {
    const { region, walk } = this;
    const { umem } = region;
    if (umem.locked) {
      umem.whenUnlocked(() => {
        this.goOn(LOCK);
      });
      return;
    }
    const pages = umem.lockIfCurrent(walk);
    if (pages === EAGAIN) {
      this.retries += 1;
      this.read();
      return;
    }
    if (pages < 0) {
      this.done(pages);
      return;
    }
    const ret = region.fill(walk);
    umem.unlock();
    this.done(ret === 0 ? pages : ret);
  }

  private goOn(kind: number): void {
    const { cpu, events } = this.options;
    events.schedule(picoseconds(Math.max(cpu.now, events.now)), this, kind);
  }
}
