/**
 * The mapping half of the NVMe driver, without drive and time: from a request to its data pointer and back (Linux
 * drivers/nvme/host/pci.c `nvme_map_data`, `nvme_pci_setup_data_prp`, `nvme_pci_setup_data_sgl`, `nvme_unmap_data`). A replay
 * of recorded calls uses it as it is. Lists are written as real bytes into coherent memory, where a drive fetches them.
 * Leaves out: metadata, user passthrough commands, peer-to-peer memory, the admin queue.
 */
import {
  NVME_CTRL_PAGE_SIZE,
  NVME_SGL_FMT_DATA_DESC,
  NVME_SGL_FMT_LAST_SEG_DESC,
  PRP_ENTRY_BYTES,
  SGL_DESCRIPTOR_BYTES,
} from '../devices/nvmeSpecification.ts';
import type { EventLog } from '../metrics/eventLog.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import type { PhysicalMemory } from '../memory/physicalMemory.ts';
import type { MappingRequest } from '../schemes/mappingRequest.ts';
import type { BlockStatus, MappingScheme } from '../schemes/scheme.ts';
import type { Cpu } from '../time/cpu.ts';
import { NVME_SMALL_POOL_SIZE, type DescriptorBlock, type DescriptorPools } from './descriptorPool.ts';
import { MappedRanges } from './mappedRanges.ts';
import type { NvmeIod } from './nvmeIod.ts';

const TWO_32 = 2 ** 32;
/** Module parameter `sgl_threshold`: use SGLs when the average segment is at least this long. */
const SGL_THRESHOLD_BYTES = 32 * 1024;
const PRPS_PER_PAGE = NVME_CTRL_PAGE_SIZE / PRP_ENTRY_BYTES;

export interface NvmeMappingOptions {
  readonly name: string;
  readonly scheme: MappingScheme;
  readonly pools: DescriptorPools;
  readonly memory: PhysicalMemory;
  readonly sglSupport: boolean;
  readonly sglThresholdBytes?: number;
  readonly log?: EventLog | null;
}

export class NvmeMapping {
  readonly scheme: MappingScheme;
  private readonly name: string;
  private readonly pools: DescriptorPools;
  private readonly memory: PhysicalMemory;
  private readonly sglSupport: boolean;
  private readonly sglThresholdBytes: number;
  private readonly log: EventLog | null;
  private readonly ranges = new MappedRanges();

  constructor(options: NvmeMappingOptions) {
    this.name = options.name;
    this.scheme = options.scheme;
    this.pools = options.pools;
    this.memory = options.memory;
    this.sglSupport = options.sglSupport;
    this.sglThresholdBytes = options.sglThresholdBytes ?? SGL_THRESHOLD_BYTES;
    this.log = options.log ?? null;
  }

  /** Maps the request and fills the data pointer of `iod`. When it fails nothing stays mapped. */
  mapRequest(cpu: Cpu, request: MappingRequest, iod: NvmeIod): BlockStatus {
    iod.reset(request.direction);
    const forced = this.sglSupport && (request.gapMask & (NVME_CTRL_PAGE_SIZE - 1)) !== 0;
    const offset = request.vectorPhys[0]! % NVME_CTRL_PAGE_SIZE;
    const fitsTwoPrps = offset + request.payloadBytes <= NVME_CTRL_PAGE_SIZE * 2;
    request.singleSegment = request.segments === 1 && (fitsTwoPrps || this.sglSupport);
    const status = this.scheme.mapStart(cpu, request, iod.mapped);
    if (status !== 'ok') return status;
    const built = request.singleSegment
      ? this.describeSingle(iod, offset, fitsTwoPrps && !forced)
      : this.describeList(cpu, request, iod, forced);
    if (built !== 'ok') this.unmapRequest(cpu, iod);
    return built;
  }

  /** `nvme_unmap_data`: unmaps, then gives the descriptor blocks back. */
  unmapRequest(cpu: Cpu, iod: NvmeIod): void {
    this.scheme.unmap(cpu, iod.direction, iod.mapped);
    const pool = iod.smallDescriptor ? this.pools.small : this.pools.large;
    for (const block of iod.descriptors) pool.free(block);
    iod.descriptors.length = 0;
  }

  private describeSingle(iod: NvmeIod, offset: number, usePrps: boolean): BlockStatus {
    const { mapped } = iod;
    const address = mapped.address[0]!;
    const length = mapped.length[0]!;
    if (!usePrps) {
      iod.setSgl(address, length, NVME_SGL_FMT_DATA_DESC);
      return 'ok';
    }
    const first = NVME_CTRL_PAGE_SIZE - offset;
    iod.setPrp1(address);
    if (length > first) iod.setPrp2(address + first);
    return 'ok';
  }

  private describeList(cpu: Cpu, request: MappingRequest, iod: NvmeIod, forced: boolean): BlockStatus {
    const { mapped } = iod;
    // A request that one IOVA range holds counts as one segment; a scatterlist counts what dma_map_sg returned.
    const segments = mapped.coalesced || mapped.mappedBy === 'scatterlist' ? mapped.count : request.segments;
    const average = Math.ceil(request.payloadBytes / segments);
    const large = this.sglSupport && this.sglThresholdBytes > 0 && average >= this.sglThresholdBytes;
    this.ranges.start(mapped);
    return forced || large ? this.buildSgl(cpu, request, iod, segments) : this.buildPrps(cpu, request, iod);
  }

  private buildSgl(cpu: Cpu, request: MappingRequest, iod: NvmeIod, segments: number): BlockStatus {
    const { ranges } = this;
    const { mapped } = iod;
    if (segments === 1) {
      iod.setSgl(ranges.address, ranges.length, NVME_SGL_FMT_DATA_DESC);
      return 'ok';
    }
    iod.smallDescriptor = segments <= NVME_SMALL_POOL_SIZE / SGL_DESCRIPTOR_BYTES;
    const block = this.takeBlock(cpu, iod, iod.smallDescriptor);
    if (block === null) return 'resource';
    let count = 0;
    do {
      if (count === segments) return this.malformed(cpu, request);
      this.writeSgl(block, count, ranges.address, ranges.length);
      count += 1;
    } while (ranges.next(this.scheme, cpu, request, mapped));
    if (mapped.status !== 'ok') return mapped.status;
    iod.setSgl(block.address, count * SGL_DESCRIPTOR_BYTES, NVME_SGL_FMT_LAST_SEG_DESC);
    return 'ok';
  }

  private buildPrps(cpu: Cpu, request: MappingRequest, iod: NvmeIod): BlockStatus {
    const { ranges } = this;
    const { mapped } = iod;
    this.scheme.keepVectors(mapped);
    let left = request.payloadBytes;
    iod.setPrp1(ranges.address);
    const first = Math.min(left, NVME_CTRL_PAGE_SIZE - (ranges.address % NVME_CTRL_PAGE_SIZE));
    if (ranges.length < first) return this.malformed(cpu, request);
    ranges.advance(first);
    left -= first;
    if (left === 0) return 'ok';
    if (!this.nextPrp(cpu, request, iod, left)) return this.failure(cpu, request, iod);
    if (left <= NVME_CTRL_PAGE_SIZE) {
      iod.setPrp2(ranges.address);
      return 'ok';
    }
    return this.buildPrpList(cpu, request, iod, left);
  }

  private buildPrpList(cpu: Cpu, request: MappingRequest, iod: NvmeIod, bytes: number): BlockStatus {
    const { ranges } = this;
    iod.smallDescriptor = Math.ceil(bytes / NVME_CTRL_PAGE_SIZE) <= NVME_SMALL_POOL_SIZE / PRP_ENTRY_BYTES;
    let list = this.takeBlock(cpu, iod, iod.smallDescriptor);
    if (list === null) return 'resource';
    iod.setPrp2(list.address);
    let left = bytes;
    let index = 0;
    for (;;) {
      if (index === PRPS_PER_PAGE) {
        // The last entry of a full page moves to the next page and becomes the pointer to it.
        const next = this.takeBlock(cpu, iod, false);
        if (next === null) return 'resource';
        this.copyPrp(list, index - 1, next, 0);
        this.writePrp(list, index - 1, next.address);
        list = next;
        index = 1;
      }
      this.writePrp(list, index, ranges.address);
      index += 1;
      const part = Math.min(left, NVME_CTRL_PAGE_SIZE);
      ranges.advance(part);
      left -= part;
      if (left === 0) return 'ok';
      if (!this.nextPrp(cpu, request, iod, left)) return this.failure(cpu, request, iod);
    }
  }

  /** Brings the walk to the next controller page; false: it failed, or what comes cannot be a PRP entry. */
  private nextPrp(cpu: Cpu, request: MappingRequest, iod: NvmeIod, left: number): boolean {
    const { ranges } = this;
    if (ranges.length === 0 && !ranges.next(this.scheme, cpu, request, iod.mapped)) return false;
    return ranges.address % NVME_CTRL_PAGE_SIZE === 0 && ranges.length >= Math.min(left, NVME_CTRL_PAGE_SIZE);
  }

  private failure(cpu: Cpu, request: MappingRequest, iod: NvmeIod): BlockStatus {
    return iod.mapped.status === 'ok' ? this.malformed(cpu, request) : iod.mapped.status;
  }

  private malformed(cpu: Cpu, request: MappingRequest): BlockStatus {
    const bytes = String(request.payloadBytes);
    const segments = String(request.segments);
    this.log?.add(cpu.now, 'error', this.name, `incorrectly formed request of ${bytes} bytes in ${segments} segments`);
    return 'ioerr';
  }

  private takeBlock(cpu: Cpu, iod: NvmeIod, small: boolean): DescriptorBlock | null {
    const block = (small ? this.pools.small : this.pools.large).allocate(cpu);
    if (block !== null) iod.descriptors.push(block);
    return block;
  }

  private writePrp(block: DescriptorBlock, index: number, address: number): void {
    const page = Math.floor(block.phys / PAGE_SIZE);
    const word = (block.phys % PAGE_SIZE) / 4 + index * 2;
    this.memory.writeWord(page, word, address % TWO_32);
    this.memory.writeWord(page, word + 1, Math.floor(address / TWO_32));
  }

  private copyPrp(from: DescriptorBlock, fromIndex: number, to: DescriptorBlock, toIndex: number): void {
    const page = Math.floor(from.phys / PAGE_SIZE);
    const word = (from.phys % PAGE_SIZE) / 4 + fromIndex * 2;
    const low = this.memory.readWord(page, word);
    const high = this.memory.readWord(page, word + 1);
    this.writePrp(to, toIndex, high * TWO_32 + low);
  }

  private writeSgl(block: DescriptorBlock, index: number, address: number, length: number): void {
    const page = Math.floor(block.phys / PAGE_SIZE);
    const word = (block.phys % PAGE_SIZE) / 4 + index * 4;
    this.memory.writeWord(page, word, address % TWO_32);
    this.memory.writeWord(page, word + 1, Math.floor(address / TWO_32));
    this.memory.writeWord(page, word + 2, length);
    this.memory.writeWord(page, word + 3, (NVME_SGL_FMT_DATA_DESC << 28) >>> 0);
  }
}
