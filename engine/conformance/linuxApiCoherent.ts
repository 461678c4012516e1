/**
 * The words of coherent memory: `coh` and `uncoh` (`dma_alloc_coherent`, `dma_free_coherent` in Linux kernel/dma/mapping.c).
 * Where that memory lay, and in how many runs, was the recorded machine's page allocator's choice: both are taken from the
 * recording, and must make sense. All else follows.
 */
import { pageAlign, PAGE_SIZE } from '../memory/addresses.ts';
import { mappedPages } from './linuxApiEvents.ts';
import { type CommandReader, wholeNumber } from './linuxApiObjects.ts';
import type { ApiReplay, Word } from './linuxApiReplay.ts';
import { hexadecimal } from './linuxApiValue.ts';
import type { ApiEvent } from './linuxApiRecord.ts';

const LARGEST_COHERENT = 2 ** 30;

export const coh: Word = (replay, command) => {
  const { api, device } = replay.machine;
  const size = command.number('size', LARGEST_COHERENT);
  const memory = api.dmaAllocCoherent(replay.cpu, device, size);
  if (memory === null) {
    replay.objects.objects.delete(command.name);
    return { fn: 'dma_alloc_coherent', size, ok: 0 };
  }
  let shownAddress: number = memory.address;
  if (replay.translated) takeRecordedRuns(replay, command);
  else shownAddress = recordedPlace(replay, command, size) ?? memory.address;
  replay.objects.objects.set(command.name, { kind: 'coherent', memory, size, shownAddress });
  return { fn: 'dma_alloc_coherent', size, ok: 1, dma: hexadecimal(shownAddress) };
};

export const uncoh: Word = (replay, command) => {
  const { api, device } = replay.machine;
  const object = replay.objects.find(command.name, 'coherent');
  if (object === null) return {};
  api.dmaFreeCoherent(replay.cpu, device, object.size, object.memory);
  replay.objects.objects.delete(command.name);
  return { fn: 'dma_free_coherent', dma: hexadecimal(object.shownAddress), size: object.size };
};

/** Without translation the address is where the memory lies: RAM, whole pages, within the device's mask. */
function recordedPlace(replay: ApiReplay, command: CommandReader, size: number): number | null {
  const { dma } = command.record.fields;
  const address = typeof dma === 'string' ? wholeNumber(dma) : null;
  if (address === null || address % PAGE_SIZE !== 0) return null;
  const last = address + pageAlign(size) - 1;
  const { coherentDmaMask } = replay.machine.device;
  return isRam(replay, address, last) && last <= coherentDmaMask ? address : null;
}

function isRam(replay: ApiReplay, first: number, last: number): boolean {
  return replay.machine.system.iomem.ram.some((region) => region.start <= first && last <= region.end);
}

/**
 * Where the recorded runs cover exactly what was mapped here, and lie in RAM, they stand for what was mapped here.
 */
function takeRecordedRuns(replay: ApiReplay, command: CommandReader): void {
  const { trace } = replay;
  const own = trace.events.filter((event) => event.name === 'map');
  const recorded = (command.record.events ?? []).filter((event) => event.name === 'map');
  const ownPages = pagesOf(own);
  const recordedPages = pagesOf(recorded);
  if (ownPages === null || recordedPages?.size !== ownPages.size) return;
  const places = new Set<number>();
  for (const [iova, place] of recordedPages) {
    if (!ownPages.has(iova) || places.has(place)) return;
    if (!isRam(replay, place * PAGE_SIZE, place * PAGE_SIZE + PAGE_SIZE - 1)) return;
    places.add(place);
  }
  for (const [iova, page] of ownPages) replay.relocated.set(page, recordedPages.get(iova) ?? page);
  const first = trace.events.findIndex((event) => event.name === 'map');
  trace.events.splice(first, own.length, ...recorded);
}

/** Null when the events do not follow one another, or are no whole pages. */
function pagesOf(events: readonly ApiEvent[]): Map<number, number> | null {
  const pages = new Map<number, number>();
  let next: number | null = null;
  for (const event of events) {
    const covered = mappedPages(event);
    if (covered === null || event.starred) return null;
    for (const [iova, page] of covered) {
      if (next !== null && iova !== next) return null;
      pages.set(iova, page);
      next = iova + 1;
    }
  }
  return pages.size === 0 ? null : pages;
}
