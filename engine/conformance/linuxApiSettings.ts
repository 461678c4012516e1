/**
 * The words that set up and ask: `pages`, `contig`, `cpu`, `delay`, the device's limits (`mask`, `segsize`, `segbound`,
 * `minalign`, `untrusted`), and `env`, which prints what the DMA API says of the device (Linux include/linux/dma-mapping.h,
 * include/linux/iommu.h).
 */
import { dmaBitMask } from '../dma/device.ts';
import { pageSet } from './linuxApiObjects.ts';
import type { ApiReplay, Word } from './linuxApiReplay.ts';
import { type ApiFields, hexadecimal } from './linuxApiValue.ts';

const ULONG_MAX = 2n ** 64n - 1n;
/** ULONG_MAX as a double. */
const NO_BOUNDARY = 2 ** 64;
const DEFAULT_SEGMENT_SIZE = 65_536;
/** `IOMMU_DOMAIN_DMA`, `IOMMU_DOMAIN_DMA_FQ`, `IOMMU_DOMAIN_IDENTITY`. */
const DOMAIN_TYPES = { strict: '0x3', lazy: '0xb', passthrough: '0x4' } as const;
const VTD_PAGE_SIZES = '0x40201000';
/** Every power of two from 4 KiB to 2 MiB and on, but 512 GiB. */
const AMD_PAGE_SIZES = '0xfff7ffffff000';
const VTD_APERTURE_ENDS = { 3: '0x7fffffffff', 4: '0xffffffffffff', 5: '0x1ffffffffffffff' } as const;
const AMD_APERTURE_END = '0xffffffffffffffff';

/** Where the pages lie is the recorded machine's to say. */
export const pages: Word = (replay, command) => {
  const { set, fields } = pageSet(command);
  replay.objects.sets.set(command.name, set);
  return fields;
};

export const cpu: Word = (replay, command) => {
  const id = command.argument(replay.machine.cpus.length - 1);
  replay.cpu = replay.cpuAt(id);
  return { fn: 'cpu', ret: 0, now: id };
};

/** Timers that come meanwhile are starred events of this record or the next. */
export const delay: Word = (_replay, command) => {
  command.argument(86_400_000);
  return {};
};

export const mask: Word = (replay, command) => {
  const { api, device } = replay.machine;
  const ret = api.dmaSetMaskAndCoherent(device, dmaBitMask(command.argument(64)));
  return { fn: 'dma_set_mask_and_coherent', ret };
};

/** 0 says that the driver sets no limit: then the default holds (`dma_get_max_seg_size`). */
export const segsize: Word = (replay, command) => {
  const bytes = command.argument(0xffff_ffff);
  replay.machine.device.maxSegmentSize = bytes === 0 ? DEFAULT_SEGMENT_SIZE : bytes;
  return { fn: 'dma_set_max_seg_size', now: replay.machine.device.maxSegmentSize };
};

/** 0 says that there is no boundary (`dma_get_seg_boundary`). */
export const segbound: Word = (replay, command) => {
  const boundary = command.argument(NO_BOUNDARY);
  replay.machine.device.segBoundaryMask = boundary === 0 ? NO_BOUNDARY : boundary;
  return { fn: 'dma_set_seg_boundary', now: maskText(replay.machine.device.segBoundaryMask) };
};

export const minalign: Word = (replay, command) => {
  replay.machine.device.minAlignMask = command.argument(0xffff_ffff);
  return { fn: 'dma_set_min_align_mask' };
};

export const untrusted: Word = (replay, command) => {
  const now = command.argument(1);
  replay.machine.device.untrusted = now === 1;
  return { fn: 'untrusted', now };
};

export const env: Word = (replay) => {
  const { api, device, profile, system } = replay.machine;
  return {
    fn: 'env',
    kernel: system.kernelRelease,
    dma_mask: maskText(device.dmaMask),
    coherent_mask: maskText(device.coherentDmaMask),
    addressing_limited: api.dmaAddressingLimited(device) ? 1 : 0,
    required_mask: maskText(api.dmaGetRequiredMask(device)),
    bus_limit: hexadecimal(device.busDmaLimit),
    opt_mapping_size: sizeValue(api.dmaOptMappingSize(device)),
    max_mapping_size: sizeValue(api.dmaMaxMappingSize(device)),
    merge_boundary: hexadecimal(api.dmaGetMergeBoundary(device)),
    max_seg_size: device.maxSegmentSize,
    seg_boundary: maskText(device.segBoundaryMask),
    ...(profile.twoStepAvailable ? { need_unmap: api.dmaNeedUnmap(device) ? 1 : 0 } : {}),
    ...domainFields(replay),
    untrusted: device.untrusted ? 1 : 0,
    ...(system.iomem.bar0 === null ? {} : { bar0: hexadecimal(system.iomem.bar0) }),
  };
};

/** What the module reads of the device's IOMMU domain; without one it prints none of it. */
function domainFields(replay: ApiReplay): ApiFields {
  const { domain, iommu, levels } = replay.machine.system;
  if (domain === 'none') return {};
  const domain_type = DOMAIN_TYPES[domain];
  if (domain === 'passthrough')
    return { domain_type, pgsize_bitmap: '0x0', aperture: ['0x0', '0x0'], force_aperture: 0 };
  return {
    domain_type,
    pgsize_bitmap: iommu === 'amd' ? AMD_PAGE_SIZES : VTD_PAGE_SIZES,
    aperture: ['0x0', iommu === 'amd' ? AMD_APERTURE_END : VTD_APERTURE_ENDS[levels]],
    force_aperture: 1,
  };
}

/** DMA_BIT_MASK of 53 and more bits is a double here that has lost its low bits. */
function maskText(mask: number): string {
  return hexadecimal(Number.isSafeInteger(mask) ? mask : 2n ** BigInt(Math.round(Math.log2(mask))) - 1n);
}

/** The API's "no limit" is `SIZE_MAX`. */
function sizeValue(size: number): number | bigint {
  return size >= Number.MAX_SAFE_INTEGER ? ULONG_MAX : size;
}
