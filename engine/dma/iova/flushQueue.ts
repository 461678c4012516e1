/**
 * The flush queue of a lazy domain: unmapped ranges wait, per CPU, until the whole domain has been flushed (Linux
 * drivers/iommu/dma-iommu.c: `queue_iova`, `fq_ring_free_locked`, `fq_flush_iotlb`, `fq_flush_timeout`).
 * Leaves out: the single-queue variant for tables that a hypervisor shadows.
 */
import type { Cpu } from '../../time/cpu.ts';
import type { EventHandler, EventQueue } from '../../time/eventQueue.ts';
import { picoseconds, PICOSECONDS_PER_MILLISECOND } from '../../time/picoseconds.ts';

/** `IOVA_DEFAULT_FQ_SIZE`: one slot stays empty, so 255 ranges wait at most. */
const FLUSH_QUEUE_SIZE = 256;
/** `IOVA_DEFAULT_FQ_TIMEOUT`. */
const FLUSH_QUEUE_TIMEOUT_MS = 10;

/** What the queue asks of the domain that it serves. */
export interface FlushQueueOwner {
  /** Invalidates everything that the IOMMU caches of the domain, and waits. */
  flushDomain(cpu: Cpu): void;
  /** Gives a range back to the allocator, and the tables that only it used. */
  releaseQueued(cpu: Cpu, pfn: number, pages: number, tables: readonly number[] | null): void;
}

class Ring {
  readonly pfn = new Float64Array(FLUSH_QUEUE_SIZE);
  readonly pages = new Float64Array(FLUSH_QUEUE_SIZE);
  readonly counter = new Float64Array(FLUSH_QUEUE_SIZE);
  readonly tables: (readonly number[] | null)[] = new Array<readonly number[] | null>(FLUSH_QUEUE_SIZE).fill(null);
  head = 0;
  tail = 0;
}

export class FlushQueue implements EventHandler {
  private readonly rings: readonly Ring[];
  private readonly owner: FlushQueueOwner;
  private readonly timers: EventQueue | null;
  private startCount = 0;
  private finishCount = 0;
  private timerCpu: Cpu | null = null;

  constructor(cpus: number, owner: FlushQueueOwner, timers: EventQueue | null) {
    this.rings = Array.from({ length: cpus }, () => new Ring());
    this.owner = owner;
    this.timers = timers;
  }

  /** Ranges that wait, on all CPUs. */
  get size(): number {
    let total = 0;
    for (const ring of this.rings) total += (ring.tail - ring.head + FLUSH_QUEUE_SIZE) % FLUSH_QUEUE_SIZE;
    return total;
  }

  /** Every range that waits and on which CPU's ring, oldest first for each, for inspection. */
  *waiting(): Generator<{ readonly pfn: number; readonly pages: number; readonly cpu: number }> {
    for (const [cpu, ring] of this.rings.entries()) {
      for (let slot = ring.head; slot !== ring.tail; slot = (slot + 1) % FLUSH_QUEUE_SIZE) {
        yield { pfn: ring.pfn[slot]!, pages: ring.pages[slot]!, cpu };
      }
    }
  }

  /** `queue_iova`. `tables`: pages of page tables that may be reused only after the flush. */
  queue(cpu: Cpu, pfn: number, pages: number, tables: readonly number[] | null): void {
    const ring = this.rings[cpu.id]!;
    this.releaseFinished(cpu, ring);
    const next = (ring.tail + 1) % FLUSH_QUEUE_SIZE;
    if (next === ring.head) {
      this.flush(cpu);
      this.releaseFinished(cpu, ring);
    }
    const slot = ring.tail;
    ring.pfn[slot] = pfn;
    ring.pages[slot] = pages;
    ring.tables[slot] = tables;
    ring.counter[slot] = this.startCount;
    ring.tail = next;
    if (this.timers !== null && this.timerCpu === null) {
      this.timerCpu = cpu;
      this.timers.schedule(picoseconds(cpu.now + FLUSH_QUEUE_TIMEOUT_MS * PICOSECONDS_PER_MILLISECOND), this, 0);
    }
  }

  /** `fq_flush_timeout` on the CPU that armed the timer. */
  handleEvent(): void {
    const cpu = this.timerCpu;
    if (cpu === null || this.timers === null) return;
    this.timerCpu = null;
    cpu.begin(this.timers.now);
    this.timeout(cpu);
  }

  /** `fq_flush_timeout`: everything that waits on any CPU is flushed and given back to the cache of this one. */
  timeout(cpu: Cpu): void {
    this.flush(cpu);
    for (let ring = 0; ring < this.rings.length; ring += 1) this.release(cpu, ring);
  }

  /** `fq_ring_free` of one CPU's ring: gives back to the cache of this CPU what a flush has covered. */
  release(cpu: Cpu, ring: number): void {
    this.releaseFinished(cpu, this.rings[ring]!);
  }

  /** `fq_flush_iotlb`. */
  flush(cpu: Cpu): void {
    this.startCount += 1;
    this.owner.flushDomain(cpu);
    this.finishCount += 1;
  }

  private releaseFinished(cpu: Cpu, ring: Ring): void {
    while (ring.head !== ring.tail && ring.counter[ring.head]! < this.finishCount) {
      const slot = ring.head;
      this.owner.releaseQueued(cpu, ring.pfn[slot]!, ring.pages[slot]!, ring.tables[slot] ?? null);
      ring.tables[slot] = null;
      ring.head = (slot + 1) % FLUSH_QUEUE_SIZE;
    }
  }
}
