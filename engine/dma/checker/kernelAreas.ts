/**
 * Which memory of the kernel a driver must not map (Linux kernel/dma/debug.c: `check_for_stack`, `check_for_illegal_area`,
 * and the checks of `debug_dma_map_single`): stacks, kernel text and read-only data, what vmalloc strung together, and
 * addresses with no memory behind them. A machine says where these areas lie; everything else may be mapped.
 */
import { PAGE_SIZE } from '../../memory/addresses.ts';
import type { MisuseKind } from './misuse.ts';

export type KernelArea = 'stack' | 'text' | 'vmalloc' | 'invalid';

const MISUSE_OF_AREA: Readonly<Record<KernelArea, { readonly kind: MisuseKind; readonly words: string }>> = {
  stack: { kind: 'mapFromStack', words: 'device driver maps memory from stack' },
  text: { kind: 'mapFromKernelText', words: 'device driver maps memory from kernel text or rodata' },
  vmalloc: { kind: 'mapFromVmalloc', words: 'device driver maps memory from vmalloc area' },
  invalid: { kind: 'mapFromInvalidArea', words: 'device driver maps memory from invalid area' },
};

interface AreaRange {
  readonly area: KernelArea;
  readonly start: number;
  readonly end: number;
}

export class KernelAreas {
  private readonly ranges: AreaRange[] = [];

  add(area: KernelArea, firstPage: number, pages: number): void {
    this.ranges.push({ area, start: firstPage * PAGE_SIZE, end: (firstPage + pages) * PAGE_SIZE });
  }

  /** What is wrong with mapping these bytes, or null. */
  check(phys: number, size: number): { readonly kind: MisuseKind; readonly message: string } | null {
    for (const { area, start, end } of this.ranges) {
      if (phys >= end || phys + size <= start) continue;
      const { kind, words } = MISUSE_OF_AREA[area];
      return { kind, message: `${words} [addr=0x${phys.toString(16)}] [len=${size}]` };
    }
    return null;
  }
}
