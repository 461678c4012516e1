/**
 * The worker that keeps the depot of the IOVA cache small: from 100 ms after a magazine came in, and every 100 ms from then on,
 * one surplus magazine goes back to the tree, until no more remain than there are CPUs (Linux drivers/iommu/iova.c:
 * `iova_depot_work_func`, `IOVA_DEPOT_DELAY`). Each size class has its own.
 * Leaves out: the time that the worker takes, on a CPU that has nothing to do with DMA.
 */
import type { EventHandler, EventQueue } from '../../time/eventQueue.ts';
import { picoseconds, PICOSECONDS_PER_MILLISECOND, type Picoseconds } from '../../time/picoseconds.ts';
import type { IovaDomain } from './iovaDomain.ts';

const IOVA_DEPOT_DELAY = 100 * PICOSECONDS_PER_MILLISECOND;

export class IovaDepotTrimmer implements EventHandler {
  private readonly iova: IovaDomain;
  private readonly timers: EventQueue;
  private readonly cpus: number;
  /** Bit n: the worker of class n is scheduled. */
  private scheduled = 0;
  private seenPushes = 0;

  constructor(iova: IovaDomain, timers: EventQueue, cpus: number) {
    this.iova = iova;
    this.timers = timers;
    this.cpus = cpus;
  }

  /** To be called after a range was given back. */
  watch(now: Picoseconds): void {
    const { rcache } = this.iova;
    if (rcache.depotPushes === this.seenPushes) return;
    this.seenPushes = rcache.depotPushes;
    this.schedule(now, rcache.lastPushedClass);
  }

  /** The worker of one size class. */
  handleEvent(sizeClass: number): void {
    this.scheduled &= ~(1 << sizeClass);
    if (this.iova.trimDepot(sizeClass, this.cpus)) this.schedule(this.timers.now, sizeClass);
  }

  private schedule(now: Picoseconds, sizeClass: number): void {
    const bit = 1 << sizeClass;
    if ((this.scheduled & bit) !== 0) return;
    this.scheduled |= bit;
    this.timers.schedule(picoseconds(now + IOVA_DEPOT_DELAY), this, sizeClass);
  }
}
