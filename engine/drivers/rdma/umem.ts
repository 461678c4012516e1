/**
 * The memory of a registered region (Linux drivers/infiniband/core/umem.c: `ib_umem_get`, `ib_umem_release`): a process's pages, pinned in
 * batches for as long as the region lives, charged against the limit of locked memory, joined where they follow each other, and mapped for the
 * adapter. The kernel maps by a scatterlist (`map_sg` here); any other mapping scheme may stand in its place, so that they can be compared.
 * Whatever fails, nothing stays: pins, charge and mapping are given back, and the refusal says why.
 * Beyond the kernel: a peer's pages may be pinned, and pinning may stop where the kind of memory changes (FOLL_STRICT of the thread); a
 * region may be allowed to be bounced, and is then brought up to date by its owner.
 * Leaves out: `ib_umem_copy_from`, hugetlb, and files that must not be pinned for long.
 */
import { DMA_ATTR_REQUIRE_COHERENT, DMA_BIDIRECTIONAL } from '../../dma/attributes.ts';
import { describeErrno, EINVAL, EIO, ENOMEM, EOPNOTSUPP, EPERM } from '../../dma/errno.ts';
import { PAGE_SIZE } from '../../memory/addresses.ts';
import type { AddressSpace } from '../../memory/addressSpace.ts';
import {
  chargePinnedPages,
  FOLL_LONGTERM,
  FOLL_PCI_P2PDMA,
  FOLL_STRICT,
  FOLL_WRITE,
  pinUserPages,
  unchargePinnedPages,
  unpinUserPages,
} from '../../memory/pinUserPages.ts';
import { MappedRequest } from '../../schemes/mappedRequest.ts';
import { MappingRequest } from '../../schemes/mappingRequest.ts';
import type { BlockStatus, MappingScheme } from '../../schemes/scheme.ts';
import type { Cpu } from '../../time/cpu.ts';
import type { Picoseconds } from '../../time/picoseconds.ts';
import { offsetInPage } from './bestPageSize.ts';
import type { RdmaCosts } from './rdmaCosts.ts';

/** `enum ib_access_flags` (include/rdma/ib_verbs.h). */
export const IB_ACCESS_LOCAL_WRITE = 1 << 0;
export const IB_ACCESS_REMOTE_WRITE = 1 << 1;
export const IB_ACCESS_REMOTE_READ = 1 << 2;
const IB_ACCESS_REMOTE_ATOMIC = 1 << 3;
export const IB_ACCESS_ON_DEMAND = 1 << 6;

const WRITING = IB_ACCESS_LOCAL_WRITE | IB_ACCESS_REMOTE_WRITE | IB_ACCESS_REMOTE_ATOMIC;
/** Page pointers in one page. */
const PAGES_PER_BATCH = PAGE_SIZE / 8;
/** `unsigned long` ends here. */
const END_OF_ADDRESSES = 2 ** 64;
/** `unsigned int` ends here. */
const MOST_PAGES = 2 ** 32;
/** `struct phys_vec`: what unpinning needs where no scatterlist remembers the pages. */
const PHYS_VEC_BYTES = 16;

export interface UmemOptions {
  readonly mm: AddressSpace;
  /** Byte address of the process. */
  readonly address: number;
  readonly length: number;
  /** `IB_ACCESS_*`. */
  readonly access: number;
  /** For this region alone: a scheme of registered buffers lets go of all that it holds. */
  readonly scheme: MappingScheme;
  readonly costs: RdmaCosts;
  /** A peer's pages are welcome; then the pin is not one for long, which the kernel refuses for them. Default false. */
  readonly peersPages?: boolean;
  /** Stop before the first page of another provider: the region is then shorter than asked. Default false. */
  readonly oneProvider?: boolean;
  /** The adapter may be given copies. Default false: DMA_ATTR_REQUIRE_COHERENT. */
  readonly mayBounce?: boolean;
  /** Where copies are given: `dma_max_mapping_size`, beyond which no run may go. Default: no limit. */
  readonly largestRun?: number;
}

/** Why there is no region, after which nothing of it stays. */
export interface RegionRefusal {
  readonly error: number;
  /** For people. */
  readonly reason: string;
}

export function isRefusal(result: object): result is RegionRefusal {
  return 'reason' in result;
}

export class Umem {
  readonly address: number;
  /** What was pinned of what was asked. */
  readonly length: number;
  readonly access: number;
  readonly request: MappingRequest;
  /** Device addresses, from the start of the first page on. */
  readonly mapped: MappedRequest;
  private readonly options: UmemOptions;
  private readonly pages: Float64Array;

  constructor(
    options: UmemOptions,
    length: number,
    pages: Float64Array,
    request: MappingRequest,
    mapped: MappedRequest,
  ) {
    this.address = options.address;
    this.access = options.access;
    this.length = length;
    this.options = options;
    this.pages = pages;
    this.request = request;
    this.mapped = mapped;
  }

  /** `ib_umem_offset`. */
  get offset(): number {
    return offsetInPage(this.address);
  }

  get pageCount(): number {
    return this.pages.length;
  }

  /** Memory that is held for it beyond its pages and the adapter's table. */
  get bookkeepingBytes(): number {
    const { scheme } = this.options;
    const rememberPages = scheme.name === 'map_sg' ? 0 : this.request.vectorCount * PHYS_VEC_BYTES;
    return this.mapped.bookkeepingBytes + scheme.heldBytes + rememberPages;
  }

  /** Whether its pages were pinned for all of these rights. */
  permits(access: number): boolean {
    return (access & WRITING) === 0 || (this.access & WRITING) !== 0;
  }

  /** `ib_umem_release`; the adapter must have let go. */
  release(cpu: Cpu): void {
    const { scheme } = this.options;
    scheme.unmap(cpu, DMA_BIDIRECTIONAL, this.mapped);
    scheme.release(cpu);
    unpinAll(cpu, this.options, this.pages, this.pages.length, (this.access & WRITING) !== 0);
  }
}

/** A mapped region, or why not. */
export function ibUmemGet(cpu: Cpu, options: UmemOptions): Umem | RegionRefusal {
  const wrong = checkArguments(options);
  if (wrong !== null) return wrong;
  const { mm, address, length } = options;
  const asked = Math.ceil((offsetInPage(address) + length) / PAGE_SIZE);
  if (chargePinnedPages(mm, asked) !== 0) {
    return refusal(
      ENOMEM,
      `${mm.name} may lock ${String(mm.lockedPagesLimit)} pages and holds ${String(mm.pinnedPages)}; the region needs ${String(asked)} more. ` +
        'Raise RLIMIT_MEMLOCK, or register less.',
    );
  }
  const list = new Float64Array(asked);
  const pinned = pinAll(cpu, options, list);
  if (isRefused(pinned)) return pinned;
  if (pinned < asked) unchargePinnedPages(mm, asked - pinned);
  const pages = pinned === asked ? list : list.slice(0, pinned);
  const reached = Math.min(length, pinned * PAGE_SIZE - offsetInPage(address));
  const request = requestOf(cpu, options, pages);
  const mapped = MappedRequest.empty(Math.max(1, request.vectorCount));
  const reason = mapAll(cpu, options, pages, request, mapped);
  if (reason === null) return new Umem(options, reached, pages, request, mapped);
  unpinAll(cpu, options, pages, pages.length, false);
  return reason;
}

function checkArguments({ address, length, access, mm }: UmemOptions): RegionRefusal | null {
  if ((access & IB_ACCESS_ON_DEMAND) !== 0) {
    return refusal(EOPNOTSUPP, 'An on-demand region has no pinned memory. Make it by ib_umem_odp_get.');
  }
  const end = address + length;
  if (!(address >= 0) || end > END_OF_ADDRESSES - PAGE_SIZE || !(length >= 0)) {
    return refusal(
      EINVAL,
      `The region from 0x${address.toString(16)} of ${String(length)} bytes ends beyond all addresses.`,
    );
  }
  if (mm.lockedPagesLimit === 0) {
    return refusal(EPERM, `${mm.name} may not lock memory. Raise RLIMIT_MEMLOCK, or give it CAP_IPC_LOCK.`);
  }
  const pages = Math.ceil((offsetInPage(address) + length) / PAGE_SIZE);
  if (length === 0 || pages >= MOST_PAGES) {
    return refusal(EINVAL, `A region of ${String(length)} bytes has no pages, or more than 2^32 of them.`);
  }
  return null;
}

/** The number of pages in `list`, all of them or those of one provider; on refusal none is pinned or charged. */
function pinAll(cpu: Cpu, options: UmemOptions, list: Float64Array): number | RegionRefusal {
  const { mm, address, access, costs, peersPages = false, oneProvider = false } = options;
  const flags =
    ((access & WRITING) === 0 ? 0 : FOLL_WRITE) |
    (peersPages ? FOLL_PCI_P2PDMA : FOLL_LONGTERM) |
    (oneProvider ? FOLL_STRICT : 0);
  const first = Math.floor(address / PAGE_SIZE);
  for (let done = 0; done < list.length;) {
    const batch = Math.min(PAGES_PER_BATCH, list.length - done);
    cpu.spend(costs.rdmaPinBatch);
    const pinned = pinUserPages(mm, first + done, batch, flags, list, done);
    if (pinned < 0) {
      unpinAll(cpu, options, list, done, false, list.length);
      return refusal(pinned, whyNotPinned(options, first + done, pinned));
    }
    cpu.spend((pinned * costs.rdmaPinPage) as Picoseconds);
    done += pinned;
    if (oneProvider && done < list.length && endsHere(options, list, done, first + done)) return done;
  }
  return list.length;
}

/** Whether pinning goes on with a page of another provider than the last. */
function endsHere({ mm }: UmemOptions, list: Float64Array, done: number, page: number): boolean {
  const { kinds } = mm.pages;
  const before = kinds?.providerOf(list[done - 1]!) ?? null;
  if (mm.fault(page, false) !== 0) return false;
  return (kinds?.providerOf(mm.table.pageOf(page)) ?? null) !== before;
}

function whyNotPinned({ mm, peersPages = false }: UmemOptions, page: number, error: number): string {
  const at = `The page at 0x${(page * PAGE_SIZE).toString(16)} of ${mm.name} cannot be pinned: ${describeErrno(error)}.`;
  const isPeers = !peersPages && mm.fault(page, false) === 0 && mm.pages.kinds?.kindOf(mm.table.pageOf(page)) === 'p2p';
  return isPeers ? `${at} It is a peer’s memory, which ib_umem_get of the kernel takes only from a dma-buf.` : at;
}

function unpinAll(
  cpu: Cpu,
  { mm, costs }: UmemOptions,
  pages: Float64Array,
  count: number,
  dirty: boolean,
  charged = count,
): void {
  cpu.spend((count * costs.rdmaUnpinPage) as Picoseconds);
  unpinUserPages(mm.pages, pages, count, dirty);
  unchargePinnedPages(mm, charged);
}

function requestOf(cpu: Cpu, options: UmemOptions, pages: Float64Array): MappingRequest {
  const { mm, mayBounce = false, largestRun = Infinity, costs } = options;
  const request = new MappingRequest();
  request.reset(DMA_BIDIRECTIONAL);
  request.attributes = mayBounce ? 0 : DMA_ATTR_REQUIRE_COHERENT;
  const { kinds } = mm.pages;
  let before = kinds?.providerOf(pages[0]!) ?? null;
  for (const page of pages) {
    const provider = kinds?.providerOf(page) ?? null;
    const last = request.vectorCount - 1;
    const isFull = last >= 0 && request.vectorLength[last]! + PAGE_SIZE > largestRun;
    if (provider === before && !isFull) request.addVector(page * PAGE_SIZE, PAGE_SIZE);
    else request.addSeparateVector(page * PAGE_SIZE, PAGE_SIZE);
    before = provider;
  }
  request.segments = request.vectorCount;
  cpu.spend((request.vectorCount * costs.rdmaAppendVector) as Picoseconds);
  return request;
}

/** Null: all is mapped. Else nothing is. */
function mapAll(
  cpu: Cpu,
  options: UmemOptions,
  pages: Float64Array,
  request: MappingRequest,
  mapped: MappedRequest,
): RegionRefusal | null {
  const { scheme } = options;
  mapped.status = scheme.registerBuffer(cpu, pages, request.attributes);
  if (mapped.status === 'ok') mapped.status = scheme.mapStart(cpu, request, mapped);
  if (mapped.status === 'ok') while (scheme.mapNext(cpu, request, mapped));
  if (mapped.status === 'ok') {
    scheme.keepVectors(mapped);
    return null;
  }
  const reason = whyNotMapped(options, request, mapped);
  scheme.unmap(cpu, request.direction, mapped);
  scheme.release(cpu);
  return refusal(errnoOf(mapped.status), reason);
}

function whyNotMapped(options: UmemOptions, request: MappingRequest, mapped: MappedRequest): string {
  if (mapped.refusal !== '') return mapped.refusal;
  const { scheme, mayBounce = false } = options;
  const index = Math.min(mapped.vectorsMapped, request.vectorCount - 1);
  const place = `vector ${String(index)} of ${String(request.vectorCount)}, at physical address 0x${request.vectorPhys[index]!.toString(16)}`;
  const why = mayBounce
    ? 'no IOVA or no bounce buffer of that size is free, or the device is not one that the call serves'
    : 'no IOVA is free, or the adapter could only be given a copy of it, and a region must be the memory itself ' +
      '(DMA_ATTR_REQUIRE_COHERENT)';
  return `${scheme.name} could not map ${place}: ${why}.`;
}

function errnoOf(status: BlockStatus): number {
  if (status === 'resource') return ENOMEM;
  return status === 'inval' ? EINVAL : EIO;
}

function refusal(error: number, reason: string): RegionRefusal {
  return { error, reason };
}

function isRefused(result: number | RegionRefusal): result is RegionRefusal {
  return typeof result !== 'number';
}
