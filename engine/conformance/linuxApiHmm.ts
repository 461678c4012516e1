/**
 * The words of HMM maps: `hmmalloc`, `hmmmap`, `hmmunmap`, `hmmfree` are `hmm_dma_map_alloc`, `hmm_dma_map_pfn`,
 * `hmm_dma_unmap_pfn` and `hmm_dma_map_free` (Linux mm/hmm.c). Before a map the module sets the entry as hmm_range_fault would
 * have: the page, valid, and writable unless `ro`; without `phys` it leaves the entry as it is.
 */
import { HmmDmaMap, hmmDmaMapAlloc, hmmDmaMapFree, hmmDmaMapPfn, hmmDmaUnmapPfn } from '../dma/hmmDma.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import { HMM_PFN_DMA_MAPPED, HMM_PFN_VALID, HMM_PFN_WRITE } from '../memory/hmmPfn.ts';
import { P2pdmaMapState } from '../pcie/p2pdma.ts';
import type { CommandReader } from './linuxApiObjects.ts';
import { UNKNOWN_OBJECT, type Word } from './linuxApiReplay.ts';
import { rawSize } from './linuxApiTwoStep.ts';
import { hexadecimal } from './linuxApiValue.ts';

const MOST_ENTRIES = 2 ** 20;
const LARGEST_ENTRY = 2 ** 30;

export const hmmalloc: Word = (replay, command) => {
  const { api, device, profile } = replay.machine;
  if (!profile.twoStepAvailable) return UNKNOWN_OBJECT;
  const entries = command.number('n', MOST_ENTRIES);
  const entrySize = command.number('entry', LARGEST_ENTRY);
  const map = new HmmDmaMap();
  const ret = hmmDmaMapAlloc(replay.cpu, api, device, map, entries, entrySize);
  if (ret === 0) replay.objects.objects.set(command.name, { kind: 'hmm', map });
  else replay.objects.objects.delete(command.name);
  return {
    fn: 'hmm_dma_map_alloc',
    nr_entries: entries,
    entry_size: entrySize,
    ret,
    state: { addr: hexadecimal(map.state.address), raw_size: rawSize(map.state) },
    dma_list: map.dmaList === null ? 0 : 1,
  };
};

export const hmmmap: Word = (replay, command) => {
  const { api, device } = replay.machine;
  const map = replay.objects.find(command.name, 'hmm')?.map;
  const phys = command.has('phys') ? replay.objects.resolve(command, command.text('phys')) : undefined;
  if (map === undefined || phys === null) return UNKNOWN_OBJECT;
  const index = entryIndex(command, map);
  const { pages, flags } = map.pfns;
  if (phys !== undefined) {
    const write = command.number('ro', 1, 0) === 0 ? HMM_PFN_WRITE : 0;
    pages[index] = Math.floor(phys.address / PAGE_SIZE);
    flags[index] = ((flags[index] ?? 0) & HMM_PFN_DMA_MAPPED) | HMM_PFN_VALID | write;
  }
  const before = map.pfns.describe(index);
  const address = hmmDmaMapPfn(replay.cpu, api, device, map, index, new P2pdmaMapState());
  return {
    fn: 'hmm_dma_map_pfn',
    idx: index,
    phys: hexadecimal(phys?.address ?? 0),
    pfn_in: before,
    dma: hexadecimal(address),
    pfn_out: map.pfns.describe(index),
    p2p: 0,
  };
};

export const hmmunmap: Word = (replay, command) => {
  const { api, device } = replay.machine;
  const map = replay.objects.find(command.name, 'hmm')?.map;
  if (map === undefined) return UNKNOWN_OBJECT;
  const index = entryIndex(command, map);
  const before = map.pfns.describe(index);
  const unmapped = hmmDmaUnmapPfn(replay.cpu, api, device, map, index);
  return {
    fn: 'hmm_dma_unmap_pfn',
    idx: index,
    pfn_in: before,
    ret: unmapped ? 1 : 0,
    pfn_out: map.pfns.describe(index),
  };
};

export const hmmfree: Word = (replay, command) => {
  const { api, device } = replay.machine;
  const map = replay.objects.find(command.name, 'hmm')?.map;
  if (map === undefined) return UNKNOWN_OBJECT;
  hmmDmaMapFree(replay.cpu, api, device, map);
  replay.objects.objects.delete(command.name);
  return { fn: 'hmm_dma_map_free' };
};

function entryIndex(command: CommandReader, map: HmmDmaMap): number {
  return command.number('idx', map.pfns.flags.length - 1);
}
