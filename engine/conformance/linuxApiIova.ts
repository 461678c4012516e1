/**
 * The words of a stand-alone IOVA domain, as a driver may have one of its own: `iod`, `ioda`, `iodp` are `init_iova_domain`,
 * `alloc_iova` and `put_iova_domain` (Linux drivers/iommu/iova.c). Only the tree: `alloc_iova` never asks a cache.
 */
import { IovaTree } from '../dma/iova/iova.ts';
import { UNKNOWN_OBJECT, type Word } from './linuxApiReplay.ts';
import { hexadecimal } from './linuxApiValue.ts';

const LARGEST_GRANULE = 2 ** 30;
const MOST_PAGES = 2 ** 40;

export const iod: Word = (replay, command) => {
  const granule = command.number('granule', LARGEST_GRANULE);
  const start = command.number('start', MOST_PAGES);
  const caches = command.number('rcache', 1, 0);
  if (granule < 1) throw command.error('its granule holds nothing.');
  replay.iovaDomain = new IovaTree(start, 2 ** (32 - Math.floor(Math.log2(granule))));
  return { fn: 'init_iova_domain', granule, start_pfn: start, rcaches: caches, ret: 0 };
};

export const ioda: Word = (replay, command) => {
  if (replay.iovaDomain === null) return UNKNOWN_OBJECT;
  const size = command.number('size', MOST_PAGES);
  const limit = command.number('limit', MOST_PAGES);
  const aligned = command.number('aligned', 1);
  replay.trace.add('iova_alloc_slow', [size, hexadecimal(limit), aligned]);
  const first = replay.iovaDomain.allocate(size, limit, aligned === 1);
  const fields = { fn: 'alloc_iova', size, limit_pfn: hexadecimal(limit), size_aligned: aligned };
  if (first === 0) return { ...fields, pfn_lo: null };
  return { ...fields, pfn_lo: hexadecimal(first), pfn_hi: hexadecimal(first + size - 1) };
};

export const iodp: Word = (replay) => {
  if (replay.iovaDomain === null) return UNKNOWN_OBJECT;
  replay.iovaDomain = null;
  return { fn: 'put_iova_domain' };
};
