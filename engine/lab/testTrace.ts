/**
 * Builds the text of a small trace for tests, in the kernel's own wording.
 */
export interface TestContext {
  readonly cpu?: number;
  readonly pid?: number;
  /** The third flag: `.` task, `s` softirq, `h` hardirq, `H` hardirq inside a softirq. */
  readonly flag?: '.' | 's' | 'h' | 'H';
}

function hex(value: number): string {
  return value.toString(16);
}

export class TestTrace {
  readonly #lines: string[] = [];

  get line(): number {
    return this.#lines.length;
  }

  text(): string {
    return `${this.#lines.join('\n')}\n`;
  }

  raw(line: string): this {
    this.#lines.push(line);
    return this;
  }

  event(text: string, context: TestContext = {}): this {
    const { cpu = 0, pid = 100, flag = '.' } = context;
    const name = pid === 0 ? '<idle>' : 'fio';
    const second = Math.floor(this.#lines.length / 1000);
    const micros = String(this.#lines.length % 1000).padStart(6, '0');
    return this.raw(
      `${name.padStart(16)}-${String(pid).padEnd(7)} [${String(cpu).padStart(3, '0')}] d.${flag}1. ${second}.${micros}: ${text}`,
    );
  }

  setup(commandId: number, context?: TestContext, opcode = 'nvme_cmd_read', controller = 'nvme0'): this {
    return this.event(
      `nvme_setup_cmd: ${controller}: disk=${controller}n1, qid=1, cmdid=${commandId}, nsid=1, flags=0x0, meta=0x0, cmd=(${opcode} slba=8, len=7, ctrl=0x0, dsmgmt=0, reftag=0)`,
      context,
    );
  }

  issue(bytes: number, context?: TestContext): this {
    return this.event(`block_rq_issue: 259,0 R ${bytes} () 8 + ${bytes / 512} be,0,4 [fio]`, context);
  }

  complete(commandId: number, context?: TestContext, controller = 'nvme0'): this {
    return this.event(
      `nvme_complete_rq: ${controller}: disk=${controller}n1, qid=1, cmdid=${commandId}, res=0x0, retries=0, flags=0x0, status=0x0`,
      context,
    ).event('block_rq_complete: 259,0 R () 8 + 8 be,0,4 [0]', context);
  }

  alloc(pfn: number, pages: number, context?: TestContext, slow = false): this {
    this.event(`alloc_fast: (alloc_iova_fast+0x4/0x3f0) size=${pages} limit_pfn=0xfffff flush_rcache=0`, context);
    if (slow) this.event(`alloc_slow: (alloc_iova+0x4/0x2b0) size=${pages} limit_pfn=0xfffff size_aligned=1`, context);
    return this.event(
      `alloc_fast_ret: (iommu_dma_alloc_iova+0xf1/0x120 <- alloc_iova_fast) pfn=0x${hex(pfn)}`,
      context,
    );
  }

  map(pfn: number, phys: number, size: number, context?: TestContext): this {
    const iova = pfn * 4096;
    return this.event(
      `map: IOMMU: iova=0x${hex(iova)} - 0x${hex(iova + size)} paddr=0x${hex(phys)} size=${size}`,
      context,
    );
  }

  unmap(pfn: number, size: number, context?: TestContext): this {
    const iova = pfn * 4096;
    return this.event(
      `unmap: IOMMU: iova=0x${hex(iova)} - 0x${hex(iova + size)} size=${size} unmapped_size=${size}`,
      context,
    );
  }

  flushPage(pfn: number, context?: TestContext): this {
    const iova = pfn * 4096;
    return this.event(
      `cache_tag_flush_range: dmar0 dmar0[0] type iotlb did 3 [0x${hex(iova)}-0x${hex(iova + 4095)}] addr 0x${hex(iova)} mask 0x0`,
      context,
    ).event(`qi_submit: iotlb_inv dmar0: 0x300f2 0x${hex(iova + 0x40)} 0x0 0x0`, context);
  }

  flushDomain(context?: TestContext): this {
    return this.event(
      'cache_tag_flush_range: dmar0 dmar0[0] type iotlb did 3 [0x0-0xffffffffffffffff] addr 0x0 mask 0x34',
      context,
    ).event('qi_submit: iotlb_inv dmar0: 0x300e2 0x0 0x0 0x0', context);
  }

  free(pfn: number, pages: number, context?: TestContext): this {
    return this.event(`free_fast: (free_iova_fast+0x4/0x1b0) pfn=0x${hex(pfn)} size=${pages}`, context);
  }

  mapped(pfn: number, phys: number, size: number, context?: TestContext, device = '0000:00:03.0'): this {
    return this.event(
      `dma_map_phys: ${device} dir=FROM_DEVICE dma_addr=${hex(pfn * 4096 + (phys % 4096))} size=${size} phys_addr=${hex(phys)} attrs=`,
      context,
    );
  }

  unmapped(pfn: number, size: number, context?: TestContext, device = '0000:00:03.0'): this {
    return this.event(
      `dma_unmap_phys: ${device} dir=FROM_DEVICE dma_addr=${hex(pfn * 4096)} size=${size} attrs=`,
      context,
    );
  }

  /** A 4 KiB read as 7.3 submits it. */
  submitPage(commandId: number, pfn: number, phys: number, context?: TestContext): this {
    return this.setup(commandId, context)
      .alloc(pfn, 1, context)
      .map(pfn, phys, 4096, context)
      .mapped(pfn, phys, 4096, context)
      .issue(4096, context);
  }

  /** The completion of such a read in a strict domain. */
  completePage(commandId: number, pfn: number, context: TestContext = { flag: 'h' }): this {
    return this.unmap(pfn, 4096, context)
      .flushPage(pfn, context)
      .free(pfn, 1, context)
      .unmapped(pfn, 4096, context)
      .complete(commandId, context);
  }

  /** The same in a lazy domain whose queue has room. */
  completePageLazily(commandId: number, pfn: number, context: TestContext = { flag: 'h' }): this {
    return this.unmap(pfn, 4096, context).unmapped(pfn, 4096, context).complete(commandId, context);
  }
}

export function runJson(
  fields: Partial<Record<'kernel' | 'commandLine' | 'iommu', string>> & { cpus?: number } = {},
): string {
  return JSON.stringify({
    kernel: '7.3.4+deb13-amd64',
    commandLine: 'intel_iommu=on iommu.strict=1',
    iommu: 'intel-iommu,intremap=on,caching-mode=off',
    cpus: 1,
    ...fields,
  });
}
