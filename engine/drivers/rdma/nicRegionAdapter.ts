/**
 * An RDMA adapter as registering memory sees it: keys whose tables lie in memory that the driver gave the adapter, changed by UMR work
 * requests on a queue pair of the driver's own, each of which the driver waits for (Linux drivers/infiniband/hw/mlx5/umr.c:
 * `mlx5r_umr_resource_init`, `mlx5r_umr_post_send_wait`, `mlx5r_umr_update_xlt`, `mlx5r_umr_revoke_mr`).
 * The wait handles the events of the machine until the completion lies in memory.
 * Leaves out: several work requests under way, recovery of a queue pair in error, KLM and KSM tables.
 */
import type { RdmaNic } from '../../devices/rdmaNic/rdmaNic.ts';
import * as spec from '../../devices/rdmaNic/rdmaSpecification.ts';
import type { CoherentMemory } from '../../dma/coherentMemory.ts';
import type { DmaDevice } from '../../dma/device.ts';
import type { DmaApi } from '../../dma/dmaApi.ts';
import { EIO, ENOMEM } from '../../dma/errno.ts';
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import type { Cpu } from '../../time/cpu.ts';
import type { EventQueue } from '../../time/eventQueue.ts';
import type { KeyContext, RegionAdapter } from './regionAdapter.ts';
import { IB_ACCESS_LOCAL_WRITE, IB_ACCESS_REMOTE_READ, IB_ACCESS_REMOTE_WRITE } from './umem.ts';

export interface NicRegionAdapterOptions {
  readonly nic: RdmaNic;
  readonly api: DmaApi;
  readonly device: DmaDevice;
  readonly memory: PhysicalMemory;
  readonly events: EventQueue;
  readonly pd: number;
}

const PAGE_SIZES = [4096, 2 ** 16, 2 ** 21, 2 ** 30];
/** Blocks of the send queue, and completions: one work request is under way at a time. */
const QUEUE_BLOCKS = 64;
const COMPLETIONS = 64;
/** Control, UMR control and key segments, and one data segment. */
const ENTRY_BYTES = spec.SEGMENT_BYTES + spec.UMR_CONTROL_BYTES + spec.MKEY_CONTEXT_BYTES + spec.SEGMENT_BYTES;
const ENTRY_BLOCKS = Math.ceil(ENTRY_BYTES / spec.WQE_BASIC_BLOCK);
const UMR = spec.SEGMENT_BYTES;
const CONTEXT = UMR + spec.UMR_CONTROL_BYTES;
const DATA = CONTEXT + spec.MKEY_CONTEXT_BYTES;
/** What a table is written from. */
const BUFFER_BYTES = 2 ** 16;
const NOT_WRITTEN = 0xff;
const ALL_OF_CONTEXT =
  spec.MLX5_MKEY_MASK_LEN +
  spec.MLX5_MKEY_MASK_PAGE_SIZE +
  spec.MLX5_MKEY_MASK_START_ADDR +
  spec.MLX5_MKEY_MASK_LR +
  spec.MLX5_MKEY_MASK_LW +
  spec.MLX5_MKEY_MASK_RR +
  spec.MLX5_MKEY_MASK_RW +
  spec.MLX5_MKEY_MASK_FREE;

interface Table {
  readonly memory: CoherentMemory;
  readonly bytes: number;
}

export class NicRegionAdapter implements RegionAdapter {
  readonly pageSizes = PAGE_SIZES;
  private readonly options: NicRegionAdapterOptions;
  private readonly tables = new Map<number, Table>();
  private readonly queue: CoherentMemory;
  private readonly completions: CoherentMemory;
  private readonly buffer: CoherentMemory;
  private readonly pair: number;
  /** A key of all bus addresses, for the buffer. */
  private readonly anywhere: number;
  private readonly entry = new Uint8Array(ENTRY_BLOCKS * spec.WQE_BASIC_BLOCK);
  /** Basic blocks of the work request that is being built. */
  private blocks = 0;
  private posted = 0;
  private polled = 0;

  /** Throws where there is no memory for the queues. */
  constructor(cpu: Cpu, options: NicRegionAdapterOptions) {
    const { nic, memory, pd } = options;
    this.options = options;
    this.queue = this.allocate(cpu, QUEUE_BLOCKS * spec.WQE_BASIC_BLOCK);
    this.completions = this.allocate(cpu, COMPLETIONS * spec.CQE_BYTES);
    this.buffer = this.allocate(cpu, BUFFER_BYTES);
    const fresh = new Uint8Array(COMPLETIONS * spec.CQE_BYTES).fill(NOT_WRITTEN);
    memory.writeBytes(this.completions.phys, fresh, 0, fresh.length);
    const sendCompletions = nic.createCompletionQueue({
      address: this.completions.address,
      entries: COMPLETIONS,
      interrupt: { handleEvent: () => undefined },
      kind: 0,
    });
    const sendQueue = this.queue.address;
    this.pair = nic.createQueuePair({ pd, sendQueue, sendBlocks: QUEUE_BLOCKS, sendCompletions });
    this.anywhere = nic.createMkey({
      accessMode: spec.MLX5_MKC_ACCESS_MODE_PA,
      permissions: spec.MLX5_PERM_LOCAL_READ,
      pd,
      startAddress: 0,
      length: Number.MAX_SAFE_INTEGER,
      logPageSize: 0,
      table: 0,
      tableBytes: 0,
    });
  }

  createKey(cpu: Cpu, entries: number): number {
    const { nic, api, device, pd } = this.options;
    const bytes = Math.ceil((entries * spec.MTT_BYTES) / spec.XLT_ALIGNMENT) * spec.XLT_ALIGNMENT;
    const memory = api.dmaAllocCoherent(cpu, device, bytes);
    if (memory === null) return ENOMEM;
    const key = nic.createMkey({
      accessMode: spec.MLX5_MKC_ACCESS_MODE_MTT,
      permissions: spec.MLX5_PERM_UMR_EN,
      pd,
      startAddress: 0,
      length: 0,
      logPageSize: Math.log2(PAGE_SIZES[0]!),
      table: memory.address,
      tableBytes: bytes,
      free: true,
    });
    this.tables.set(key, { memory, bytes });
    return key;
  }

  destroyKey(cpu: Cpu, key: number): void {
    const { nic, api, device } = this.options;
    const table = this.tables.get(key);
    if (table === undefined) throw new Error(`key ${String(key)} is destroyed twice`);
    nic.destroyMkey(key);
    this.tables.delete(key);
    api.dmaFreeCoherent(cpu, device, table.bytes, table.memory);
  }

  writeTable(cpu: Cpu, key: number, firstEntry: number, bytes: Uint8Array, length: number): number {
    const { memory } = this.options;
    for (let done = 0; done < length; done += BUFFER_BYTES) {
      const chunk = Math.min(BUFFER_BYTES, length - done);
      memory.writeBytes(this.buffer.phys, bytes, done, chunk);
      const view = this.begin(key, DATA + spec.SEGMENT_BYTES);
      const octowords = (firstEntry * spec.MTT_BYTES + done) / spec.SEGMENT_BYTES;
      view.setUint8(UMR + spec.UMR_FLAGS, spec.MLX5_UMR_TRANSLATION_OFFSET_EN);
      view.setUint16(UMR + spec.UMR_XLT_OCTOWORDS, chunk / spec.SEGMENT_BYTES);
      view.setUint16(UMR + spec.UMR_XLT_OFFSET, octowords & 0xffff);
      view.setUint32(UMR + spec.UMR_XLT_OFFSET_47_16, Math.floor(octowords / 2 ** 16));
      view.setUint32(DATA + spec.DATA_BYTE_COUNT, chunk);
      view.setUint32(DATA + spec.DATA_LKEY, this.anywhere);
      spec.writeBe64(view, DATA + spec.DATA_ADDRESS, this.buffer.address);
      const error = this.postAndWait(cpu);
      if (error !== 0) return error;
    }
    return 0;
  }

  setKey(cpu: Cpu, key: number, context: KeyContext | null): number {
    const view = this.begin(key, DATA);
    const mask = context === null ? spec.MLX5_MKEY_MASK_FREE : ALL_OF_CONTEXT;
    spec.writeBe64(view, UMR + spec.UMR_MKEY_MASK, mask);
    if (context === null) view.setUint8(CONTEXT + spec.MKEY_STATUS, spec.MLX5_MKEY_STATUS_FREE);
    else {
      view.setUint8(CONTEXT + spec.MKEY_FLAGS, permissionsOf(context.access));
      spec.writeBe64(view, CONTEXT + spec.MKEY_START_ADDRESS, context.iova);
      spec.writeBe64(view, CONTEXT + spec.MKEY_LENGTH, context.length);
      view.setUint8(CONTEXT + spec.MKEY_LOG_PAGE_SIZE, Math.log2(context.pageSize));
    }
    return this.postAndWait(cpu);
  }

  /** The memory of the queues goes back; every key must be gone. */
  release(cpu: Cpu): void {
    const { nic, api, device } = this.options;
    if (this.tables.size > 0) throw new Error(`${String(this.tables.size)} keys are left`);
    nic.destroyMkey(this.anywhere);
    api.dmaFreeCoherent(cpu, device, QUEUE_BLOCKS * spec.WQE_BASIC_BLOCK, this.queue);
    api.dmaFreeCoherent(cpu, device, COMPLETIONS * spec.CQE_BYTES, this.completions);
    api.dmaFreeCoherent(cpu, device, BUFFER_BYTES, this.buffer);
  }

  private allocate(cpu: Cpu, bytes: number): CoherentMemory {
    const { api, device } = this.options;
    const memory = api.dmaAllocCoherent(cpu, device, bytes);
    if (memory === null) throw new Error(`there is no memory for the queues of ${device.name}`);
    return memory;
  }

  /** An empty UMR work request of so many bytes. */
  private begin(key: number, bytes: number): DataView {
    const view = new DataView(this.entry.buffer);
    this.blocks = Math.ceil(bytes / spec.WQE_BASIC_BLOCK);
    this.entry.fill(0);
    view.setUint32(spec.CONTROL_OPCODE, ((this.posted & 0xffff) << 8) | spec.MLX5_OPCODE_UMR);
    view.setUint32(spec.CONTROL_QPN_DS, this.pair * 0x100 + bytes / spec.SEGMENT_BYTES);
    view.setUint8(spec.CONTROL_FLAGS, spec.MLX5_WQE_CTRL_CQ_UPDATE);
    view.setUint32(spec.CONTROL_IMMEDIATE, key);
    return view;
  }

  /** 0, or -EIO where the adapter refused. */
  private postAndWait(cpu: Cpu): number {
    const { nic, memory, events } = this.options;
    const { blocks } = this;
    for (let block = 0; block < blocks; block += 1) {
      const place = this.queue.phys + ((this.posted + block) % QUEUE_BLOCKS) * spec.WQE_BASIC_BLOCK;
      memory.writeBytes(place, this.entry, block * spec.WQE_BASIC_BLOCK, spec.WQE_BASIC_BLOCK);
    }
    // no more than the request has: the adapter would take what lies behind it for another, and fetch that when nobody waits any more
    this.posted += blocks;
    cpu.waitUntil(events.now);
    nic.ringDoorbell(this.pair, this.posted, cpu.now);
    const completion = new Uint8Array(spec.CQE_BYTES);
    const place = this.completions.phys + (this.polled % COMPLETIONS) * spec.CQE_BYTES;
    const owner = Math.floor(this.polled / COMPLETIONS) % 2;
    for (;;) {
      memory.readBytes(place, completion, 0, spec.CQE_BYTES);
      const said = completion[spec.CQE_OP_OWN]!;
      if (said !== NOT_WRITTEN && (said & 1) === owner) break;
      if (!events.step()) throw new Error('the adapter never completes a UMR work request');
    }
    this.polled += 1;
    cpu.waitUntil(events.now);
    return completion[spec.CQE_OP_OWN]! >> 4 === spec.MLX5_CQE_REQ ? 0 : EIO;
  }
}

/** `IB_ACCESS_*` as the adapter's bits; reading locally is always allowed. */
function permissionsOf(access: number): number {
  return (
    spec.MLX5_PERM_UMR_EN |
    spec.MLX5_PERM_LOCAL_READ |
    ((access & IB_ACCESS_LOCAL_WRITE) === 0 ? 0 : spec.MLX5_PERM_LOCAL_WRITE) |
    ((access & IB_ACCESS_REMOTE_READ) === 0 ? 0 : spec.MLX5_PERM_REMOTE_READ) |
    ((access & IB_ACCESS_REMOTE_WRITE) === 0 ? 0 : spec.MLX5_PERM_REMOTE_WRITE)
  );
}
