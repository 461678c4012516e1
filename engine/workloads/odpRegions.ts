/**
 * Buffers that the adapter uses on demand: nothing is pinned, and pages come by its faults or ahead of them (`ibv_reg_mr` with
 * IBV_ACCESS_ON_DEMAND, `ibv_advise_mr`). Implicit: one key for all of the process's addresses.
 */
import type { NicOdpAdapter } from '../drivers/rdma/nicOdpAdapter.ts';
import type { OdpDriver } from '../drivers/rdma/odpDriver.ts';
import type { RegionRefusal } from '../drivers/rdma/umem.ts';
import { describeErrno } from '../dma/errno.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import type { AddressSpace } from '../memory/addressSpace.ts';
import type { Counters } from '../metrics/counters.ts';
import type { Cpu } from '../time/cpu.ts';
import type { RegisteredBuffer, Registrar } from './registrar.ts';

export interface OdpRegionsOptions {
  readonly driver: OdpDriver;
  readonly adapter: NicOdpAdapter;
  readonly mm: AddressSpace;
  readonly writable: boolean;
  readonly implicit: boolean;
  /** Pages are fetched when a buffer is registered, not by faults. */
  readonly prefetch: boolean;
  readonly counters: Counters;
}

interface OdpBuffer extends RegisteredBuffer {
  /** Of the driver; null: the implicit one's. */
  readonly key: number | null;
}

export class OdpRegions implements Registrar<OdpBuffer> {
  private readonly options: OdpRegionsOptions;
  private implicitKey: number | null = null;

  constructor(options: OdpRegionsOptions) {
    this.options = options;
  }

  get refusal(): string {
    return this.options.driver.refusal;
  }

  register(_cpu: Cpu, address: number, length: number): OdpBuffer | RegionRefusal {
    const { driver, adapter, mm, writable, implicit, prefetch, counters } = this.options;
    const own = implicit
      ? (this.implicitKey ??= driver.registerImplicit(mm, writable))
      : driver.register(mm, address / PAGE_SIZE, Math.ceil(length / PAGE_SIZE), writable);
    if (own < 0) {
      counters.add('regionsRefused', 1);
      return { error: own, reason: driver.refusal === '' ? describeErrno(own) : driver.refusal };
    }
    counters.add('regionsRegistered', 1);
    if (prefetch) driver.advise(own, writable ? 'prefetch_write' : 'prefetch', address, length, true);
    return { parts: [{ address, length, key: adapter.mkeyOf(own) }], key: implicit ? null : own };
  }

  deregister(_cpu: Cpu, { key }: OdpBuffer): void {
    if (key !== null) this.options.driver.deregister(key);
  }

  release(): void {
    if (this.implicitKey !== null) this.options.driver.deregister(this.implicitKey);
    this.implicitKey = null;
  }
}
