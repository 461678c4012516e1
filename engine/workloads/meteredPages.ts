/**
 * A page-indexed mapping scheme that is timed: the virtual CPU time of the DMA API in each fault and each invalidation, the pages that it
 * mapped and unmapped, and what it holds.
 */
import type { RequestMetrics } from '../drivers/requestMetrics.ts';
import type { HmmPfnList } from '../memory/hmmPfn.ts';
import type { Counters } from '../metrics/counters.ts';
import type { EntryRange, PageScheme } from '../schemes/pageScheme.ts';
import type { SchemeName } from '../schemes/scheme.ts';
import type { Cpu } from '../time/cpu.ts';
import { picoseconds } from '../time/picoseconds.ts';

export class MeteredPages implements PageScheme {
  readonly name: SchemeName;
  private readonly scheme: PageScheme;
  private readonly metrics: RequestMetrics;
  private readonly counters: Counters;
  private held = 0;

  constructor(scheme: PageScheme, metrics: RequestMetrics, counters: Counters) {
    this.name = scheme.name;
    this.scheme = scheme;
    this.metrics = metrics;
    this.counters = counters;
  }

  get pfns(): HmmPfnList {
    return this.scheme.pfns;
  }

  get mapped(): number {
    return this.scheme.mapped;
  }

  get bookkeepingBytes(): number {
    return this.scheme.bookkeepingBytes;
  }

  get refusal(): string {
    return this.scheme.refusal;
  }

  reserve(cpu: Cpu, entries: number): number {
    const ret = this.scheme.reserve(cpu, entries);
    this.weigh(cpu);
    return ret;
  }

  mapPages(cpu: Cpu, first: number, count: number, addresses: Float64Array): number {
    const { scheme, metrics, counters } = this;
    const before = cpu.now;
    const had = scheme.mapped;
    const ret = scheme.mapPages(cpu, first, count, addresses);
    counters.add('odpPagesMapped', Math.max(0, scheme.mapped - had));
    metrics.recordMapLatency(cpu.now, picoseconds(cpu.now - before));
    this.weigh(cpu);
    return ret;
  }

  widen(range: EntryRange): void {
    this.scheme.widen(range);
  }

  unmapPages(cpu: Cpu, first: number, end: number): number {
    const before = cpu.now;
    const unmapped = this.scheme.unmapPages(cpu, first, end);
    this.counters.add('odpPagesInvalidated', unmapped);
    if (unmapped > 0) this.metrics.recordUnmapLatency(cpu.now, picoseconds(cpu.now - before));
    this.weigh(cpu);
    return unmapped;
  }

  release(cpu: Cpu): void {
    this.scheme.release(cpu);
    this.metrics.addBookkeeping(cpu.now, -this.held);
    this.held = 0;
  }

  private weigh(cpu: Cpu): void {
    const { bookkeepingBytes } = this.scheme;
    if (bookkeepingBytes === this.held) return;
    this.metrics.addBookkeeping(cpu.now, bookkeepingBytes - this.held);
    this.held = bookkeepingBytes;
  }
}
