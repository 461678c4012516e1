/**
 * Registering memory with an adapter (Linux drivers/infiniband/hw/mlx5/mr.c: `mlx5_ib_reg_user_mr`, `mlx5_ib_rereg_user_mr`,
 * `mlx5_ib_dereg_mr`): pin and map the memory, find the page size, take a key, write its table, switch it on. One region has one table,
 * whatever memory it is made of. What fails on the way gives all back that was taken before it, and says why.
 * Leaves out: protection domains, memory windows, keys for atomics and signatures.
 */
import { describeErrno, EINVAL } from '../../dma/errno.ts';
import type { Cpu } from '../../time/cpu.ts';
import type { Picoseconds } from '../../time/picoseconds.ts';
import { fillPageAddresses, findBestPageSize, pagesOfRange, type DeviceRanges } from './bestPageSize.ts';
import { MTT_BYTES, writeAddresses, type BufferMemory } from './keyTable.ts';
import type { Key, MrCache } from './mrCache.ts';
import type { RdmaCosts } from './rdmaCosts.ts';
import type { KeyContext, RegionAdapter } from './regionAdapter.ts';
import { ibUmemGet, isRefusal, type RegionRefusal, type Umem, type UmemOptions } from './umem.ts';

export interface MemoryRegionsOptions {
  readonly adapter: RegionAdapter;
  readonly cache: MrCache;
  readonly costs: RdmaCosts;
  /** Default: there is memory for every buffer. */
  readonly hasMemory?: BufferMemory;
}

export interface RegionRequest extends Omit<UmemOptions, 'costs'> {
  /** The adapter's address of the first byte; default: the process's. */
  readonly iova?: number;
}

export interface MemoryRegion {
  readonly key: Key;
  umem: Umem;
  context: KeyContext;
  /** What its table holds. */
  tableEntries: number;
  /** False after a change that failed halfway: the adapter refuses every access, and deregistering is all that is left. */
  usable: boolean;
}

/** The table of some memory, not written yet. */
interface Table {
  readonly context: KeyContext;
  readonly addresses: Float64Array;
}

export class MemoryRegions {
  private readonly adapter: RegionAdapter;
  private readonly cache: MrCache;
  private readonly costs: RdmaCosts;
  private readonly hasMemory: BufferMemory;

  constructor(options: MemoryRegionsOptions) {
    this.adapter = options.adapter;
    this.cache = options.cache;
    this.costs = options.costs;
    this.hasMemory = options.hasMemory ?? (() => true);
  }

  /** `ibv_reg_mr`. A region of one provider only (`oneProvider`) may be shorter than asked: `context.length` says how far it goes. */
  register(cpu: Cpu, request: RegionRequest): MemoryRegion | RegionRefusal {
    const umem = ibUmemGet(cpu, { ...request, costs: this.costs });
    if (isRefusal(umem)) return umem;
    const table = this.tableOf(cpu, umem, request.iova ?? request.address);
    const region = isRefusal(table) ? table : this.enter(cpu, umem, table);
    if (isRefusal(region)) umem.release(cpu);
    return region;
  }

  /** Several regions, one for each run of memory of one provider, as an API for uniform memory makes of a mixture; or none. */
  registerPerProvider(
    cpu: Cpu,
    request: RegionRequest,
    schemeOf: () => RegionRequest['scheme'],
  ): MemoryRegion[] | RegionRefusal {
    const regions: MemoryRegion[] = [];
    const iova = request.iova ?? request.address;
    for (let done = 0; done < request.length;) {
      const region = this.register(cpu, {
        ...request,
        address: request.address + done,
        length: request.length - done,
        iova: iova + done,
        scheme: schemeOf(),
        oneProvider: true,
      });
      if (isRefusal(region)) {
        for (const made of regions) this.deregister(cpu, made);
        return region;
      }
      regions.push(region);
      done += region.context.length;
    }
    return regions;
  }

  /** `ibv_dereg_mr`: the adapter lets go first. */
  deregister(cpu: Cpu, region: MemoryRegion): void {
    this.giveBack(cpu, region.key, region.usable);
    region.usable = false;
    region.umem.release(cpu);
  }

  /** `ibv_rereg_mr` with new memory under the same key: null, or why not; the old memory is then untouched unless `usable` is false. */
  changeMemory(cpu: Cpu, region: MemoryRegion, request: RegionRequest): RegionRefusal | null {
    const umem = ibUmemGet(cpu, { ...request, costs: this.costs });
    if (isRefusal(umem)) return umem;
    const table = this.tableOf(cpu, umem, request.iova ?? request.address);
    if (isRefusal(table)) {
      umem.release(cpu);
      return table;
    }
    if (table.addresses.length > region.key.entries) {
      umem.release(cpu);
      const room = `its table has room for ${String(region.key.entries)} entries, and ${String(table.addresses.length)} are needed`;
      return { error: EINVAL, reason: `The region cannot keep its key: ${room}. Register a new one.` };
    }
    const off = this.setKey(cpu, region.key, null);
    if (off !== 0) {
      umem.release(cpu);
      return failed('switching the key off', off);
    }
    region.usable = false;
    const error = this.write(cpu, region.key, table);
    if (error !== 0) {
      // the key is off, so no adapter reads the new memory; the old one waits for the region's end
      umem.release(cpu);
      return failed('writing the table', error);
    }
    region.umem.release(cpu);
    region.umem = umem;
    region.context = table.context;
    region.tableEntries = table.addresses.length;
    region.usable = true;
    return null;
  }

  /** `ibv_rereg_mr` with other rights. Memory that was pinned for reading is not made writable so. */
  changeAccess(cpu: Cpu, region: MemoryRegion, access: number): RegionRefusal | null {
    if (!region.umem.permits(access)) {
      return { error: EINVAL, reason: 'The memory was pinned for reading. Give it anew with the right to write.' };
    }
    const context = { ...region.context, access };
    const error = this.setKey(cpu, region.key, context);
    if (error !== 0) return failed('writing the key', error);
    region.context = context;
    return null;
  }

  /** Memory that a region holds beyond its pages: the driver's, and the adapter's table. */
  bytesOf(region: MemoryRegion): { readonly driver: number; readonly table: number } {
    return { driver: region.umem.bookkeepingBytes, table: region.key.entries * MTT_BYTES };
  }

  private enter(cpu: Cpu, umem: Umem, table: Table): MemoryRegion | RegionRefusal {
    const key = this.cache.take(cpu, table.addresses.length);
    if (typeof key === 'number') return failed('making a key', key);
    const error = this.write(cpu, key, table);
    if (error !== 0) {
      this.giveBack(cpu, key, false);
      return failed('writing the table', error);
    }
    return { key, umem, context: table.context, tableEntries: table.addresses.length, usable: true };
  }

  private tableOf(cpu: Cpu, umem: Umem, iova: number): Table | RegionRefusal {
    const { offset, length, access } = umem;
    const ranges: DeviceRanges = umem.mapped;
    cpu.spend((ranges.count * this.costs.rdmaFindPageSize) as Picoseconds);
    const pageSize = findBestPageSize(ranges, iova, offset, length, this.adapter.pageSizes);
    if (pageSize === 0) {
      const sizes = this.adapter.pageSizes.join(', ');
      const reason = `No page size of the adapter (${sizes}) describes this memory at 0x${iova.toString(16)}: its pieces are smaller, or lie otherwise in their pages.`;
      return { error: EINVAL, reason };
    }
    const addresses = new Float64Array(pagesOfRange(iova, length, pageSize));
    fillPageAddresses(ranges, iova, offset, length, pageSize, addresses);
    return { context: { iova, length, pageSize, access }, addresses };
  }

  /** The whole table, and then the key: 0 or a negative errno with the key off. */
  private write(cpu: Cpu, { key }: Key, { addresses, context }: Table): number {
    const { adapter, costs } = this;
    const error = writeAddresses(cpu, adapter, costs, key, addresses, addresses.length, this.hasMemory);
    if (error !== 0) return error;
    cpu.spend(costs.rdmaUmrPost);
    return adapter.setKey(cpu, key, context);
  }

  private setKey(cpu: Cpu, { key }: Key, context: KeyContext | null): number {
    cpu.spend(this.costs.rdmaUmrPost);
    return this.adapter.setKey(cpu, key, context);
  }

  /** A key that is on is switched off and kept; one that will not go off is destroyed, which always ends its use. */
  private giveBack(cpu: Cpu, key: Key, isOn: boolean): void {
    if (isOn && this.setKey(cpu, key, null) !== 0) this.adapter.destroyKey(cpu, key.key);
    else this.cache.put(cpu, key);
  }
}

function failed(step: string, error: number): RegionRefusal {
  return { error, reason: `The adapter failed at ${step}: ${describeErrno(error)}. Nothing new is registered.` };
}
