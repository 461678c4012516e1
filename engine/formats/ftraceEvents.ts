/**
 * The events of a kernel trace that concern DMA mapping, and how each one's text is read: `dma:*` and `iommu:*`
 * (Linux include/trace/events/dma.h, iommu.h), `nvme:*` (drivers/nvme/host/trace.h), `block:*`, the VT-d driver's
 * `qi_submit` and `cache_tag_flush_range` (drivers/iommu/intel/trace.h), and function probes on `dma_iova_*` and on the
 * IOVA allocator under the names that our recordings give them.
 * Leaves out: fields that depend on the moment or on pointers (`state`, `virt_addr`), and every other event, which is kept
 * by name only.
 */

/** The low words of a VT-d invalidation descriptor, decoded (VT-d specification 6.5.2). */
export type InvalidationGranularity = 'global' | 'domain' | 'page' | 'other';

export type FtraceEvent =
  | {
      readonly name: 'nvme_setup_cmd';
      readonly controller: string;
      readonly queue: number;
      readonly commandId: number;
      readonly opcode: string;
      readonly lba: number;
    }
  | {
      readonly name: 'nvme_complete_rq';
      readonly controller: string;
      readonly queue: number;
      readonly commandId: number;
      readonly status: number;
    }
  | { readonly name: 'block_rq_issue'; readonly disk: string; readonly bytes: number; readonly sector: number }
  | { readonly name: 'block_rq_complete'; readonly disk: string; readonly sector: number }
  | {
      readonly name: 'dma_map_page' | 'dma_map_phys';
      readonly device: string;
      readonly direction: string;
      readonly dmaAddress: number;
      readonly size: number;
      readonly phys: number;
      readonly attributes: string;
    }
  | {
      readonly name: 'dma_unmap_page' | 'dma_unmap_phys';
      readonly device: string;
      readonly direction: string;
      readonly dmaAddress: number;
      readonly size: number;
      readonly attributes: string;
    }
  | {
      readonly name: 'dma_map_sg';
      readonly device: string;
      readonly direction: string;
      readonly entries: number;
      readonly mappedEntries: number;
      readonly dmaAddresses: readonly number[];
      readonly sizes: readonly number[];
      readonly physAddresses: readonly number[];
      readonly attributes: string;
    }
  | {
      readonly name: 'dma_unmap_sg';
      readonly device: string;
      readonly direction: string;
      readonly physAddresses: readonly number[];
      readonly attributes: string;
    }
  | {
      readonly name: 'dma_alloc' | 'dma_free';
      readonly device: string;
      readonly dmaAddress: number;
      readonly size: number;
    }
  | { readonly name: 'try_alloc'; readonly phys: number; readonly size: number }
  | {
      readonly name: 'try_alloc_ret';
      readonly allocated: boolean;
      readonly address: number;
      readonly stateSize: number;
    }
  | {
      readonly name: 'link';
      readonly address: number;
      readonly stateSize: number;
      readonly phys: number;
      readonly offset: number;
      readonly size: number;
      readonly direction: number;
    }
  | { readonly name: 'link_ret' | 'sync_ret'; readonly result: number }
  | { readonly name: 'sync' | 'unlink'; readonly address: number; readonly offset: number; readonly size: number }
  | { readonly name: 'destroy'; readonly address: number; readonly stateSize: number; readonly mapped: number }
  | { readonly name: 'free'; readonly address: number; readonly stateSize: number }
  | { readonly name: 'alloc_fast'; readonly pages: number; readonly limitPfn: number; readonly flushRcache: boolean }
  | { readonly name: 'alloc_fast_ret'; readonly pfn: number }
  | { readonly name: 'alloc_slow'; readonly pages: number; readonly limitPfn: number }
  | { readonly name: 'free_fast'; readonly pfn: number; readonly pages: number }
  | { readonly name: 'map'; readonly iova: number; readonly phys: number; readonly size: number }
  | { readonly name: 'unmap'; readonly iova: number; readonly size: number; readonly unmapped: number }
  | {
      readonly name: 'cache_tag_flush_range';
      readonly domainId: number;
      readonly start: number;
      readonly end: number;
      readonly address: number;
      /** Up to 6.17: pages, rounded up to a power of two. */
      readonly pages: number | null;
      readonly mask: number;
      readonly wholeDomain: boolean;
    }
  | {
      readonly name: 'qi_submit';
      readonly granularity: InvalidationGranularity;
      readonly domainId: number;
      readonly address: number;
      readonly mask: number;
      readonly hint: boolean;
    }
  | { readonly name: 'tracing_mark_write'; readonly text: string }
  | { readonly name: 'other'; readonly event: string };

export type FtraceEventName = FtraceEvent['name'];

/** Reads the text after `EVENT: `; null when it is not what that event prints. */
type EventReader = (text: string) => FtraceEvent | null;

function pattern(expression: RegExp, build: (fields: readonly string[]) => FtraceEvent | null): EventReader {
  return (text) => {
    const fields = expression.exec(text);
    return fields === null ? null : build(fields);
  };
}

function hex(text: string | undefined): number {
  return Number.parseInt(text ?? '', 16);
}

function decimal(text: string | undefined): number {
  return Number.parseInt(text ?? '', 10);
}

function hexList(text: string | undefined): number[] {
  return text === undefined || text === '' ? [] : text.split(',').map((item) => Number.parseInt(item, 16));
}

const WHOLE_ADDRESS_SPACE_END = 0xffff_ffff_ffff_f000;

const mapOne = (name: 'dma_map_page' | 'dma_map_phys'): EventReader =>
  pattern(
    /^(\S+) dir=(\w+) dma_addr=([0-9a-f]+) size=(\d+) phys_addr=([0-9a-f]+) attrs=(\S*)/,
    ([, device = '', direction = '', address, size, phys, attributes = '']) => ({
      name,
      device,
      direction,
      dmaAddress: hex(address),
      size: decimal(size),
      phys: hex(phys),
      attributes,
    }),
  );

const unmapOne = (name: 'dma_unmap_page' | 'dma_unmap_phys'): EventReader =>
  pattern(
    /^(\S+) dir=(\w+) dma_addr=([0-9a-f]+) size=(\d+) attrs=(\S*)/,
    ([, device = '', direction = '', address, size, attributes = '']) => ({
      name,
      device,
      direction,
      dmaAddress: hex(address),
      size: decimal(size),
      attributes,
    }),
  );

const coherent = (name: 'dma_alloc' | 'dma_free'): EventReader =>
  pattern(/^(\S+) dir=\w+ dma_addr=([0-9a-f]+) size=(\d+)/, ([, device = '', address, size]) => ({
    name,
    device,
    dmaAddress: hex(address),
    size: decimal(size),
  }));

const result = (name: 'link_ret' | 'sync_ret'): EventReader =>
  pattern(/ ret=(-?\d+)/, ([, value]) => ({ name, result: decimal(value) }));

const partOfRange = (name: 'sync' | 'unlink'): EventReader =>
  pattern(/ addr=(0x[0-9a-f]+) off=(\d+) size=(\d+)/, ([, address, offset, size]) => ({
    name,
    address: hex(address),
    offset: decimal(offset),
    size: decimal(size),
  }));

function decodeDescriptor(low: string, high: string): FtraceEvent {
  // The descriptor's low word has at most 32 significant bits for IOTLB invalidations: type, granularity, drain, domain.
  const word = hex(low);
  const isIotlb = word % 16 === 2 && word < 0x1_0000_0000;
  const granularity = isIotlb ? (['other', 'global', 'domain', 'page'] as const)[Math.floor(word / 16) % 4]! : 'other';
  const address = hex(high);
  const inPage = address % 4096;
  return {
    name: 'qi_submit',
    granularity,
    domainId: Math.floor(word / 0x1_0000) % 0x1_0000,
    address: address - inPage,
    mask: inPage % 64,
    hint: Math.floor(inPage / 64) % 2 === 1,
  };
}

const READERS: Readonly<Record<string, EventReader>> = {
  nvme_setup_cmd: pattern(
    /^(nvme\d+): .*?qid=(\d+), cmdid=(\d+), .*cmd=\((\S+)(?: slba=(\d+))?/,
    ([, controller = '', queue, commandId, opcode = '', lba]) => ({
      name: 'nvme_setup_cmd',
      controller,
      queue: decimal(queue),
      commandId: decimal(commandId),
      opcode,
      lba: lba === undefined ? 0 : decimal(lba),
    }),
  ),
  nvme_complete_rq: pattern(
    /^(nvme\d+): .*?qid=(\d+), cmdid=(\d+), .*status=(?:0x)?([0-9a-f]+)/,
    ([, controller = '', queue, commandId, status]) => ({
      name: 'nvme_complete_rq',
      controller,
      queue: decimal(queue),
      commandId: decimal(commandId),
      status: hex(status),
    }),
  ),
  block_rq_issue: pattern(/^(\d+,\d+) \S* (\d+) \(.*?\) (\d+) \+ \d+/, ([, disk = '', bytes, sector]) => ({
    name: 'block_rq_issue',
    disk,
    bytes: decimal(bytes),
    sector: decimal(sector),
  })),
  block_rq_complete: pattern(/^(\d+,\d+) \S* \(.*?\) (\d+) \+ \d+/, ([, disk = '', sector]) => ({
    name: 'block_rq_complete',
    disk,
    sector: decimal(sector),
  })),
  dma_map_page: mapOne('dma_map_page'),
  dma_map_phys: mapOne('dma_map_phys'),
  dma_unmap_page: unmapOne('dma_unmap_page'),
  dma_unmap_phys: unmapOne('dma_unmap_phys'),
  dma_map_sg: pattern(
    /^(\S+) dir=(\w+) (?:nents=\d+\/(\d+) ents=\d+\/(\d+)(?: \[TRUNCATED\])? )?dma_addrs=\{(.*?)\} sizes=\{(.*?)\} phys_addrs=\{(.*?)\} attrs=(\S*)/,
    ([, device = '', direction = '', entries, mappedEntries, addresses, sizes, physAddresses, attributes = '']) => {
      const dmaAddresses = hexList(addresses);
      const phys = hexList(physAddresses);
      return {
        name: 'dma_map_sg',
        device,
        direction,
        entries: entries === undefined ? phys.length : decimal(entries),
        mappedEntries: mappedEntries === undefined ? dmaAddresses.length : decimal(mappedEntries),
        dmaAddresses,
        sizes: hexList(sizes),
        physAddresses: phys,
        attributes,
      };
    },
  ),
  dma_unmap_sg: pattern(
    /^(\S+) dir=(\w+) phys_addrs=\{(.*?)\} attrs=(\S*)/,
    ([, device = '', direction = '', physAddresses, attributes = '']) => ({
      name: 'dma_unmap_sg',
      device,
      direction,
      physAddresses: hexList(physAddresses),
      attributes,
    }),
  ),
  dma_alloc: coherent('dma_alloc'),
  dma_free: coherent('dma_free'),
  try_alloc: pattern(/ phys=(0x[0-9a-f]+) size=(\d+)/, ([, phys, size]) => ({
    name: 'try_alloc',
    phys: hex(phys),
    size: decimal(size),
  })),
  try_alloc_ret: pattern(/ ret=(\d+) addr=(0x[0-9a-f]+) ssize=(0x[0-9a-f]+)/, ([, allocated, address, stateSize]) => ({
    name: 'try_alloc_ret',
    allocated: allocated !== '0',
    address: hex(address),
    stateSize: hex(stateSize),
  })),
  link: pattern(
    / addr=(0x[0-9a-f]+) ssize=(0x[0-9a-f]+) phys=(0x[0-9a-f]+) off=(\d+) size=(\d+) dir=(\d+)/,
    ([, address, stateSize, phys, offset, size, direction]) => ({
      name: 'link',
      address: hex(address),
      stateSize: hex(stateSize),
      phys: hex(phys),
      offset: decimal(offset),
      size: decimal(size),
      direction: decimal(direction),
    }),
  ),
  link_ret: result('link_ret'),
  sync: partOfRange('sync'),
  sync_ret: result('sync_ret'),
  unlink: partOfRange('unlink'),
  destroy: pattern(/ addr=(0x[0-9a-f]+) ssize=(0x[0-9a-f]+) mapped=(\d+)/, ([, address, stateSize, mapped]) => ({
    name: 'destroy',
    address: hex(address),
    stateSize: hex(stateSize),
    mapped: decimal(mapped),
  })),
  free: pattern(/ addr=(0x[0-9a-f]+) ssize=(0x[0-9a-f]+)/, ([, address, stateSize]) => ({
    name: 'free',
    address: hex(address),
    stateSize: hex(stateSize),
  })),
  alloc_fast: pattern(/ size=(\d+) limit_pfn=(0x[0-9a-f]+) flush_rcache=(\d)/, ([, pages, limit, flush]) => ({
    name: 'alloc_fast',
    pages: decimal(pages),
    limitPfn: hex(limit),
    flushRcache: flush !== '0',
  })),
  alloc_fast_ret: pattern(/ pfn=(0x[0-9a-f]+)/, ([, pfn]) => ({ name: 'alloc_fast_ret', pfn: hex(pfn) })),
  alloc_slow: pattern(/ size=(\d+) limit_pfn=(0x[0-9a-f]+)/, ([, pages, limit]) => ({
    name: 'alloc_slow',
    pages: decimal(pages),
    limitPfn: hex(limit),
  })),
  free_fast: pattern(/ pfn=(0x[0-9a-f]+) size=(\d+)/, ([, pfn, pages]) => ({
    name: 'free_fast',
    pfn: hex(pfn),
    pages: decimal(pages),
  })),
  map: pattern(/^IOMMU: iova=(0x[0-9a-f]+) - 0x[0-9a-f]+ paddr=(0x[0-9a-f]+) size=(\d+)/, ([, iova, phys, size]) => ({
    name: 'map',
    iova: hex(iova),
    phys: hex(phys),
    size: decimal(size),
  })),
  unmap: pattern(
    /^IOMMU: iova=(0x[0-9a-f]+) - 0x[0-9a-f]+ size=(\d+) unmapped_size=(\d+)/,
    ([, iova, size, unmapped]) => ({
      name: 'unmap',
      iova: hex(iova),
      size: decimal(size),
      unmapped: decimal(unmapped),
    }),
  ),
  cache_tag_flush_range: pattern(
    / did (\d+) \[(0x[0-9a-f]+)-(0x[0-9a-f]+)\] addr (0x[0-9a-f]+) (?:pages (0x[0-9a-f]+) )?mask (0x[0-9a-f]+)/,
    ([, domainId, start, end, address, pages, mask]) => ({
      name: 'cache_tag_flush_range',
      domainId: decimal(domainId),
      start: hex(start),
      end: hex(end),
      address: hex(address),
      pages: pages === undefined ? null : hex(pages),
      mask: hex(mask),
      wholeDomain: hex(start) === 0 && hex(end) >= WHOLE_ADDRESS_SPACE_END,
    }),
  ),
  qi_submit: pattern(/^\w+ \S+: (0x[0-9a-f]+) (0x[0-9a-f]+) /, ([, low = '', high = '']) =>
    decodeDescriptor(low, high),
  ),
  tracing_mark_write: (text) => ({ name: 'tracing_mark_write', text }),
};

/** Null: the event is one of ours, but its text is not what the kernel prints. */
export function readFtraceEvent(event: string, text: string): FtraceEvent | null {
  const reader = Object.hasOwn(READERS, event) ? READERS[event] : undefined;
  return reader === undefined ? { name: 'other', event } : reader(text);
}
