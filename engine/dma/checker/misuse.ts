/**
 * What the API checker finds: a misuse of the DMA API by a driver (or an access by its device) that works by luck, with the
 * calls that touched the mapping before it. The kinds are the checks of CONFIG_DMA_API_DEBUG (Linux kernel/dma/debug.c), and
 * those that the two-step API lacks there. No imports at run time: the renderer may use this file.
 */

export const CHECKER_MODES = ['off', 'report', 'stop'] as const;
/** `report` counts and goes on; `stop` ends the run at the first misuse. */
export type CheckerMode = (typeof CHECKER_MODES)[number];

/** Every kind with its name for people. The order is that of the calls: map, sync, unmap, two-step, device, release. */
export const MISUSE_TITLES = {
  mapFromStack: 'memory of a stack mapped',
  mapFromKernelText: 'kernel text or read-only data mapped',
  mapFromInvalidArea: 'memory mapped that does not exist',
  mapFromVmalloc: 'memory of vmalloc mapped as if it were contiguous',
  sgSegmentTooLong: 'scatterlist segment longer than the device takes',
  sgSegmentAcrossBoundary: 'scatterlist segment across a boundary of the device',
  overlappingCacheLine: 'cache line mapped twice',
  tooManyOverlaps: 'cache line mapped too often',
  syncNotAllocated: 'synchronisation of memory that is not mapped',
  syncOutsideRange: 'synchronisation outside the mapping',
  syncOtherDirection: 'synchronisation in another direction',
  syncReadOnlyForCpu: 'synchronisation for the CPU of memory that the device only reads',
  syncWriteOnlyForDevice: 'synchronisation for the device of memory that it only writes',
  syncOtherSgCount: 'synchronisation of another number of scatterlist entries',
  freeInvalidAddress: 'unmap of the error address',
  freeNotAllocated: 'unmap of memory that is not mapped',
  freeOtherSize: 'unmap of another size',
  freeWrongFunction: 'unmap by the wrong function',
  freeOtherCpuAddress: 'free with another CPU address',
  freeOtherSgCount: 'unmap of another number of scatterlist entries',
  freeOtherDirection: 'unmap in another direction',
  mappingErrorNotChecked: 'mapping error never checked',
  linkTwice: 'offset linked twice',
  linkOutside: 'link outside the range',
  linkUnaligned: 'link inside the range that is not aligned',
  useBeforeSync: 'device uses a link before its sync',
  unlinkOtherAttributes: 'unlink with other attributes or direction',
  unlinkHole: 'unlink where nothing is linked',
  freeWithLinks: 'range freed with links in it',
  destroyOtherLength: 'range destroyed with another length than was linked',
  stateNotInUse: 'call on a range that is not allocated',
  useAfterUnmap: 'device uses an address that is not mapped for it',
  pendingAtRelease: 'driver unbound with live mappings',
} as const;

export type MisuseKind = keyof typeof MISUSE_TITLES;

/** One call in the past of a mapping. */
export interface CheckedCall {
  /** Virtual time when the call began, picoseconds. */
  readonly at: number;
  /** The CPU that made it; -1: an access of the device. */
  readonly cpu: number;
  /** Name and arguments, such as `dma_iova_link(offset=0x1000, size=0x1000)`. */
  readonly text: string;
}

export interface ApiMisuse {
  readonly kind: MisuseKind;
  /** The kernel's words where it has some, after driver and device. */
  readonly message: string;
  readonly driver: string;
  readonly device: string;
  readonly at: number;
  readonly cpu: number;
  /** The call that is at fault. */
  readonly call: string;
  /** The calls that touched the mapping before, oldest first. */
  readonly history: readonly CheckedCall[];
  /** Calls between the first and the last ones of the history that were not kept. */
  readonly omitted: number;
}

/** The checker's figures, as debugfs `dma-api/` shows them. */
export interface CheckerResult {
  readonly mode: Exclude<CheckerMode, 'off'>;
  readonly errorCount: number;
  readonly byKind: Readonly<Partial<Record<MisuseKind, number>>>;
  readonly totalEntries: number;
  readonly minFreeEntries: number;
  /** The run was ended at the first misuse. */
  readonly stopped: boolean;
  /** The first misuses, in full; the others are only counted. */
  readonly misuses: readonly ApiMisuse[];
}
