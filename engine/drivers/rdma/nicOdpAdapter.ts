/**
 * An RDMA adapter as on-demand paging sees it: keys whose tables of entries lie in memory that the driver gave the adapter, keys that point to
 * keys (KSM) for implicit regions, and page faults with their answers (Linux drivers/infiniband/hw/mlx5/odp.c: `mlx5_ib_page_fault_resume`,
 * `mlx5_ib_mr_rdma_pfault_handler`; umr.c: `mlx5r_umr_update_xlt`).
 * Entries are written by the CPU and hold at once, for the time that a work request takes: a fault is served and an invalidation carried out
 * while the region's mutex is held, and no event of the machine may come in between. Entries that are zapped are out of use when `zap` returns:
 * the adapter lets what is under way by them arrive first.
 * Leaves out: work requests for these updates (nicRegionAdapter.ts has them for regions that are pinned), faults of shared receive queues.
 */
import type { RdmaFault } from '../../devices/rdmaNic/faultEvents.ts';
import { NULL_MKEY } from '../../devices/rdmaNic/memoryKeys.ts';
import type { RdmaNic } from '../../devices/rdmaNic/rdmaNic.ts';
import * as spec from '../../devices/rdmaNic/rdmaSpecification.ts';
import type { CoherentMemory } from '../../dma/coherentMemory.ts';
import type { DmaDevice } from '../../dma/device.ts';
import type { DmaApi } from '../../dma/dmaApi.ts';
import { PAGE_SIZE } from '../../memory/addresses.ts';
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import type { Counters } from '../../metrics/counters.ts';
import type { Cpu } from '../../time/cpu.ts';
import type { EventQueue } from '../../time/eventQueue.ts';
import { LabError } from '../../time/labError.ts';
import { picoseconds, type Picoseconds } from '../../time/picoseconds.ts';
import type { OdpAdapter, OdpFault } from './odpAdapter.ts';

export interface NicOdpAdapterOptions {
  readonly nic: RdmaNic;
  readonly api: DmaApi;
  readonly device: DmaDevice;
  readonly memory: PhysicalMemory;
  readonly events: EventQueue;
  readonly cpu: Cpu;
  readonly pd: number;
  /** Payload of one packet: what a remote access that faults needs at least. */
  readonly packetBytes: number;
  readonly counters: Counters;
  /** One work request that writes entries, and each entry of it. */
  readonly costs: { readonly tableUpdate: Picoseconds; readonly tableUpdatePerEntry: Picoseconds };
}

interface KeyTable {
  readonly mkey: number;
  readonly memory: CoherentMemory;
  readonly bytes: number;
  /** First byte of the process that the key covers. */
  readonly start: number;
  /** The key that points to this one; itself: none does. */
  parent: number;
}

/** Addresses that an implicit key covers (`mlx5_imr_ksm_entries`: the task's size). */
const IMPLICIT_BYTES = 2 ** 47;
const ALL_LOCAL_AND_REMOTE =
  spec.MLX5_PERM_LOCAL_READ | spec.MLX5_PERM_LOCAL_WRITE | spec.MLX5_PERM_REMOTE_READ | spec.MLX5_PERM_REMOTE_WRITE;
/** `MAX_PREFETCH_LEN`, 4 MiB: as many pages one fault asks for. */
const MOST_PAGES = 1024;

export class NicOdpAdapter implements OdpAdapter {
  onFault: ((fault: OdpFault) => void) | null = null;
  private readonly options: NicOdpAdapterOptions;
  private readonly tables = new Map<number, KeyTable>();
  /** The driver's key of an adapter's. */
  private readonly keys = new Map<number, number>();
  private readonly raisedAt = new Map<number, number>();
  private readonly entry = new DataView(new ArrayBuffer(spec.KLM_BYTES));

  constructor(options: NicOdpAdapterOptions) {
    this.options = options;
    options.nic.onFault = (fault) => {
      this.raised(fault);
    };
  }

  /** What a work request names. */
  mkeyOf(key: number): number {
    return this.table(key).mkey;
  }

  addRegion(key: number, firstPage: number, pages: number): void {
    const start = firstPage * PAGE_SIZE;
    this.create(key, spec.MLX5_MKC_ACCESS_MODE_MTT, start, pages * PAGE_SIZE, PAGE_SIZE, pages * spec.MTT_BYTES);
  }

  addIndirectRegion(key: number, piecePages: number): void {
    const piece = piecePages * PAGE_SIZE;
    const pieces = IMPLICIT_BYTES / piece;
    this.create(key, spec.MLX5_MKC_ACCESS_MODE_KSM, 0, IMPLICIT_BYTES, piece, pieces * spec.KLM_BYTES);
    const { memory, bytes } = this.table(key);
    const empty = new Uint8Array(bytes);
    const view = new DataView(empty.buffer);
    for (let at = 0; at < bytes; at += spec.KLM_BYTES) view.setUint32(at + spec.DATA_LKEY, NULL_MKEY);
    this.options.memory.writeBytes(memory.phys, empty, 0, bytes);
  }

  pointTo(key: number, piece: number, target: number | null): void {
    const { entry } = this;
    const child = target === null ? null : this.table(target);
    if (child !== null) child.parent = key;
    entry.setUint32(spec.DATA_BYTE_COUNT, 0);
    entry.setUint32(spec.DATA_LKEY, child?.mkey ?? NULL_MKEY);
    spec.writeBe64(entry, spec.DATA_ADDRESS, child?.start ?? 0);
    this.write(this.table(key), piece * spec.KLM_BYTES, new Uint8Array(entry.buffer));
  }

  removeRegion(key: number): void {
    const { nic, api, device, cpu } = this.options;
    const { mkey, memory, bytes } = this.table(key);
    nic.destroyMkey(mkey);
    this.tables.delete(key);
    this.keys.delete(mkey);
    api.dmaFreeCoherent(cpu, device, bytes, memory);
  }

  writeEntries(key: number, firstPage: number, addresses: Float64Array, access: Uint8Array, count: number): void {
    const table = this.table(key);
    const bytes = new Uint8Array(count * spec.MTT_BYTES);
    const view = new DataView(bytes.buffer);
    for (let index = 0; index < count; index += 1) {
      const allowed = access[index]!;
      if (allowed !== 0) spec.writeBe64(view, index * spec.MTT_BYTES, addresses[index]! + allowed);
    }
    this.write(table, this.entryAt(table, firstPage), bytes);
  }

  zap(key: number, firstPage: number, count: number): void {
    const { nic, events } = this.options;
    const table = this.table(key);
    this.write(table, this.entryAt(table, firstPage), new Uint8Array(count * spec.MTT_BYTES));
    const adapters = nic.keys.get(table.mkey);
    while (adapters !== null && adapters.inFlight > 0) {
      if (!events.step()) throw new Error('an access of the adapter never ends');
    }
  }

  updateTime(entries: number): Picoseconds {
    const { tableUpdate, tableUpdatePerEntry } = this.options.costs;
    return picoseconds(tableUpdate + entries * tableUpdatePerEntry);
  }

  resume(fault: OdpFault, served: boolean, at: Picoseconds): void {
    const waited = Math.max(0, at - (this.raisedAt.get(fault.message) ?? at));
    this.options.counters.add('odpFaultTimePs', waited);
    this.raisedAt.delete(fault.message);
    this.options.nic.resume(fault.message, !served, at);
  }

  private raised({ token, mkey, va, bytes, write, kind }: RdmaFault): void {
    const { events, nic, packetBytes, counters } = this.options;
    counters.add('odpFaults', 1);
    const key = this.keys.get(mkey);
    if (key === undefined || this.onFault === null) {
      // the key has gone meanwhile: the access is tried again, and denied if it is still wanted (`pagefault_single_data_segment`)
      nic.resume(token, false, events.now);
      return;
    }
    this.raisedAt.set(token, events.now);
    const needed = kind === 'RDMA' ? Math.min(bytes, packetBytes) : bytes;
    const firstPage = Math.floor(va / PAGE_SIZE);
    const pages = Math.min(MOST_PAGES, Math.floor((va + needed - 1) / PAGE_SIZE) - firstPage + 1);
    const hinted = Math.floor((va + bytes - 1) / PAGE_SIZE) - firstPage + 1 - pages;
    this.onFault({ message: token, key: this.table(key).parent, firstPage, pages, hinted, write });
  }

  private create(key: number, accessMode: number, start: number, length: number, page: number, bytes: number): void {
    const { nic, api, device, cpu, pd } = this.options;
    const tableBytes = Math.ceil(bytes / spec.XLT_ALIGNMENT) * spec.XLT_ALIGNMENT;
    const memory = api.dmaAllocCoherent(cpu, device, tableBytes);
    if (memory === null) {
      const problem = `there is no memory for a table of ${String(tableBytes)} bytes.`;
      throw new LabError(device.name, problem, 'Give the machine more memory, or use smaller regions.');
    }
    const mkey = nic.createMkey({
      accessMode,
      permissions: ALL_LOCAL_AND_REMOTE,
      pd,
      startAddress: start,
      length,
      logPageSize: Math.log2(page),
      table: memory.address,
      tableBytes,
      onDemand: true,
    });
    this.tables.set(key, { mkey, memory, bytes: tableBytes, start, parent: key });
    this.keys.set(mkey, key);
  }

  private write({ memory }: KeyTable, offset: number, bytes: Uint8Array): void {
    const { nic, memory: frames } = this.options;
    frames.writeBytes(memory.phys + offset, bytes, 0, bytes.length);
    nic.cache.invalidate(memory.address + offset, bytes.length);
  }

  private entryAt({ start }: KeyTable, firstPage: number): number {
    return (firstPage - start / PAGE_SIZE) * spec.MTT_BYTES;
  }

  private table(key: number): KeyTable {
    const table = this.tables.get(key);
    if (table === undefined) throw new Error(`no region has the key ${String(key)}`);
    return table;
  }
}
