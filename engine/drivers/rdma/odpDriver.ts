/**
 * On-demand paging, the driver's side: regions of which nothing is pinned, explicit ones and implicit ones over a whole process, faults of
 * the adapter served, and pages asked for in advance (Linux drivers/infiniband/hw/mlx5/odp.c: `mlx5_ib_pfault`, `mlx5_ib_advise_mr_prefetch`).
 * How the pages are mapped is a page-indexed scheme's business; Linux's is `two_step_per_page`.
 * Leaves out: faults of a work queue, whose requests the driver reads; the bounds of the event queue and of 64 faults in service.
 */
import type { DmaDevice } from '../../dma/device.ts';
import type { DmaApi } from '../../dma/dmaApi.ts';
import { PAGE_SIZE } from '../../memory/addresses.ts';
import type { AddressSpace } from '../../memory/addressSpace.ts';
import { EAGAIN, EFAULT, EINVAL, EPERM } from '../../memory/memoryErrors.ts';
import { createPageScheme } from '../../schemes/pages/pageSchemes.ts';
import type { PageScheme } from '../../schemes/pageScheme.ts';
import type { SchemeName } from '../../schemes/scheme.ts';
import type { Cpu } from '../../time/cpu.ts';
import type { EventHandler, EventQueue } from '../../time/eventQueue.ts';
import { picoseconds } from '../../time/picoseconds.ts';
import type { OdpAdapter, OdpFault } from './odpAdapter.ts';
import { CHILD_PAGES, OdpImplicit } from './odpImplicit.ts';
import { OdpPopulate, type OdpCosts } from './odpPopulate.ts';
import { OdpRegion } from './odpRegion.ts';
import type { OdpMapRequest } from './umemOdp.ts';

export interface OdpOptions {
  readonly api: DmaApi;
  readonly device: DmaDevice;
  readonly adapter: OdpAdapter;
  readonly events: EventQueue;
  readonly cpu: Cpu;
  readonly costs: OdpCosts;
  /** Default: Linux's, `two_step_per_page`. */
  readonly scheme?: SchemeName;
  /** In place of the scheme's name: a scheme for each region. */
  readonly pageScheme?: () => PageScheme;
  /** Of implicit regions; default 1 GiB. */
  readonly childPages?: number;
}

/**
 * `enum ib_uverbs_advise_mr_advice`. `prefetch`: for reading, without permission to write; `prefetch_no_fault`: only what the process has
 * already.
 */
export type OdpAdvice = 'prefetch' | 'prefetch_write' | 'prefetch_no_fault';

interface QueuedAdvice {
  readonly key: number;
  readonly request: OdpMapRequest;
}

/** `MAX_PREFETCH_LEN`: 4 MiB. */
const MOST_PAGES_HINTED = 1024;

/** An implicit region and what its children are made of. */
interface ImplicitRegion {
  readonly implicit: OdpImplicit;
  readonly writable: boolean;
}

export class OdpDriver implements EventHandler {
  /** Faults answered with success, with failure, and with the request to come again. */
  served = 0;
  refused = 0;
  again = 0;
  /** Why the scheme refused the last region or page that it refused, for people. */
  refusal = '';
  protected readonly options: OdpOptions;
  private readonly regions = new Map<number, OdpRegion>();
  private readonly implicitRegions = new Map<number, ImplicitRegion>();
  private readonly queued = new Map<number, QueuedAdvice>();
  private nextKey = 1;
  private nextAdvice = 0;

  constructor(options: OdpOptions) {
    this.options = options;
    options.adapter.onFault = (fault) => {
      this.serve(fault);
    };
  }

  /** A key, or a negative errno. Nothing is mapped yet. */
  register(mm: AddressSpace, start: number, pages: number, writable: boolean): number {
    const region = this.createRegion(mm, start, pages, writable);
    if (typeof region === 'number') return region;
    this.regions.set(region.key, region);
    return region.key;
  }

  /** A key for all of the process's addresses. */
  registerImplicit(mm: AddressSpace, writable: boolean): number {
    const { adapter, events, cpu, costs, childPages = CHILD_PAGES } = this.options;
    const key = this.takeKey();
    const implicit = new OdpImplicit({
      key,
      adapter,
      events,
      cpu,
      costs,
      childPages,
      createChild: (firstPage) => this.createRegion(mm, firstPage, childPages, writable),
    });
    this.implicitRegions.set(key, { implicit, writable });
    return key;
  }

  /** Messages of the region must have ended. */
  deregister(key: number): void {
    const { cpu, events } = this.options;
    cpu.begin(events.now);
    const implicit = this.implicitRegions.get(key)?.implicit;
    const region = this.regions.get(key);
    if (implicit === undefined && region === undefined) throw new Error(`no region has the key ${String(key)}`);
    implicit?.destroy();
    region?.destroy();
    this.regions.delete(key);
    this.implicitRegions.delete(key);
  }

  /** For inspection. */
  regionOf(key: number): OdpRegion | OdpImplicit | null {
    return this.regions.get(key) ?? this.implicitRegions.get(key)?.implicit ?? null;
  }

  /**
   * `ibv_advise_mr` over bytes of the process's addresses: 0, or a negative errno. `flush`: returns when the pages are there, with what became
   * of them; else a work queue fetches them, and what it meets is nobody's concern.
   */
  advise(key: number, advice: OdpAdvice, address: number, bytes: number, flush: boolean): number {
    const { cpu, costs, events } = this.options;
    cpu.begin(events.now);
    cpu.spend(costs.advise);
    const region = this.regions.get(key);
    const writable = region?.umem.writable ?? this.implicitRegions.get(key)?.writable;
    if (writable === undefined) return EINVAL;
    if (advice === 'prefetch_write' && !writable) return EPERM;
    const write = advice === 'prefetch_write' || (advice === 'prefetch_no_fault' && writable);
    const request = { address, bytes, write, fault: advice !== 'prefetch_no_fault' };
    if (!flush) {
      this.queue(key, request);
      return 0;
    }
    const results: number[] = [];
    this.populate(key, request, (ret) => {
      results.push(ret);
    });
    while (results.length === 0 && events.step());
    return Math.min(results[0] ?? EFAULT, 0);
  }

  /** The work queue comes to an advice. */
  handleEvent(_kind: number, argument: number): void {
    const advice = this.queued.get(argument);
    this.queued.delete(argument);
    if (advice === undefined) return;
    this.options.cpu.begin(this.options.events.now);
    this.populate(advice.key, advice.request, () => undefined);
  }

  private serve(fault: OdpFault): void {
    const { cpu, events, costs, adapter } = this.options;
    cpu.begin(events.now);
    cpu.spend(costs.faultEntry);
    const { key, firstPage, pages } = fault;
    const writable = this.regions.get(key)?.umem.writable ?? this.implicitRegions.get(key)?.writable ?? false;
    const request = {
      address: firstPage * PAGE_SIZE,
      bytes: pages * PAGE_SIZE,
      // whoever may write is taken to do so, lest it faults a second time
      write: writable,
      fault: true,
    };
    const done = (ret: number): void => {
      if (ret === EAGAIN) this.again += 1;
      else if (ret < 0) this.refused += 1;
      else this.served += 1;
      adapter.resume(fault, ret >= 0 || ret === EAGAIN, cpu.now);
      if (ret > 0 && fault.hinted > 0) this.fetchHinted(fault, writable);
    };
    if (fault.write && !writable) done(EPERM);
    else this.populate(key, request, done);
  }

  /** What the adapter will want next: its message goes on meanwhile, and whether it works out is nobody's concern. */
  private fetchHinted({ key, firstPage, pages, hinted }: OdpFault, writable: boolean): void {
    const first = firstPage + pages;
    const umem = this.regions.get(key)?.umem;
    const end = umem === undefined ? Infinity : umem.start + umem.pages;
    const count = Math.min(hinted, MOST_PAGES_HINTED, end - first);
    if (count <= 0) return;
    this.queue(key, { address: first * PAGE_SIZE, bytes: count * PAGE_SIZE, write: writable, fault: true });
  }

  private queue(key: number, request: OdpMapRequest): void {
    const { cpu, events } = this.options;
    this.queued.set(this.nextAdvice, { key, request });
    events.schedule(picoseconds(Math.max(cpu.now, events.now)), this, 0, this.nextAdvice);
    this.nextAdvice += 1;
  }

  /** Piece by piece where the key is implicit. */
  private populate(key: number, request: OdpMapRequest, done: (result: number) => void): void {
    const region = this.regions.get(key);
    if (region !== undefined) {
      OdpPopulate.start(this.options, region, request, (ret) => {
        this.note(region, ret);
        done(ret);
      });
      return;
    }
    const implicit = this.implicitRegions.get(key)?.implicit;
    if (implicit === undefined) done(EFAULT);
    else this.populateChild(implicit, request, 0, done);
  }

  private populateChild(
    implicit: OdpImplicit,
    request: OdpMapRequest,
    before: number,
    done: (result: number) => void,
  ): void {
    const { address, bytes } = request;
    const child = implicit.childOf(Math.floor(address / PAGE_SIZE));
    if (typeof child === 'number') {
      done(child);
      return;
    }
    const end = (child.umem.start + child.umem.pages) * PAGE_SIZE;
    const length = Math.min(bytes, end - address);
    OdpPopulate.start(this.options, child, { ...request, bytes: length }, (ret) => {
      this.note(child, ret);
      if (ret < 0 || length === bytes) done(ret < 0 ? ret : before + ret);
      else this.populateChild(implicit, { ...request, address: end, bytes: bytes - length }, before + ret, done);
    });
  }

  protected createRegion(mm: AddressSpace, start: number, pages: number, writable: boolean): OdpRegion | number {
    const { api, device, adapter, events, cpu, scheme = 'two_step_per_page' } = this.options;
    const pageScheme = this.options.pageScheme?.() ?? createPageScheme(scheme, api, device, device.name);
    const umem = { mm, start, pages, writable, scheme: pageScheme };
    const region = OdpRegion.create({ key: this.takeKey(), adapter, events, cpu, umem });
    if (typeof region === 'number') this.refusal = pageScheme.refusal;
    return region;
  }

  private note(region: OdpRegion, result: number): void {
    const { refusal } = region.umem.scheme;
    if (result < 0 && refusal !== '') this.refusal = refusal;
  }

  protected takeKey(): number {
    const key = this.nextKey;
    this.nextKey += 1;
    return key;
  }
}
