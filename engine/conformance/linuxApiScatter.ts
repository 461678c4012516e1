/**
 * The words of scatterlists: `sg` and `unsg` (`dma_map_sgtable`, `dma_unmap_sg` in Linux kernel/dma/mapping.c). Entries come from
 * a set of pages (`set=A from=1 n=4 off=512 len=512 step=2`) or one by one (`list=A[0]+0x200:512,A[1]:4096`).
 */
import type { DmaDirection } from '../dma/attributes.ts';
import { ScatterList } from '../dma/scatterList.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import { type CommandReader, LARGEST_MAPPING, type ListObject, pageAt, wholeNumber } from './linuxApiObjects.ts';
import { type ApiReplay, UNKNOWN_OBJECT, type Word } from './linuxApiReplay.ts';
import { type ApiFields, type ApiValue, hexadecimal } from './linuxApiValue.ts';

const MOST_ENTRIES = 65_536;

interface Entry {
  readonly phys: number;
  readonly length: number;
}

export const sg: Word = (replay, command) => {
  const { api, device } = replay.machine;
  const entries = entriesOf(replay, command);
  if (entries === null) return UNKNOWN_OBJECT;
  const direction: DmaDirection = command.direction();
  const attributes = command.attributes();
  const list = new ScatterList(Math.max(entries.length, 1));
  let bytes = 0;
  for (const { phys, length } of entries) {
    list.add(phys, length);
    bytes += length;
  }
  const result = api.dmaMapSg(replay.cpu, device, list, direction, attributes);
  const fields: ApiFields = {
    in: entries.map(({ phys, length }): ApiValue => [hexadecimal(phys), length]),
    fn: 'dma_map_sgtable',
    dir: direction,
    attrs: attributes,
    ret: Math.min(result, 0),
    orig_nents: entries.length,
  };
  if (result <= 0) {
    replay.objects.objects.delete(command.name);
    return { ...fields, nents: entries.length };
  }
  replay.objects.objects.set(command.name, { kind: 'list', list, direction, attributes, bytes });
  return { ...fields, nents: list.mappedCount, out: segmentsOf(list) };
};

export const unsg: Word = (replay, command) => {
  const { api, device } = replay.machine;
  const object: ListObject | null = replay.objects.find(command.name, 'list');
  if (object === null) return {};
  const dma = hexadecimal(object.list.dmaAddress[0] ?? 0);
  api.dmaUnmapSg(replay.cpu, device, object.list, object.direction, object.attributes);
  replay.objects.objects.delete(command.name);
  return { fn: 'dma_unmap_sgtable', dma };
};

function segmentsOf(list: ScatterList): ApiValue[] {
  return Array.from({ length: list.mappedCount }, (_, segment): ApiValue => [
    hexadecimal(list.dmaAddress[segment] ?? 0),
    list.dmaLength[segment] ?? 0,
  ]);
}

/** Null: a symbol names nothing. */
function entriesOf(replay: ApiReplay, command: CommandReader): Entry[] | null {
  return command.has('list') ? listed(replay, command) : fromSet(replay, command);
}

function listed(replay: ApiReplay, command: CommandReader): Entry[] | null {
  const entries: Entry[] = [];
  const parts = command.text('list').split(',');
  if (parts.length > MOST_ENTRIES) throw command.error(`its list has more than ${MOST_ENTRIES} entries.`);
  for (const part of parts) {
    const colon = part.lastIndexOf(':');
    const length = wholeNumber(part.slice(colon + 1));
    if (colon < 0 || length === null || length > LARGEST_MAPPING) {
      throw command.error(`"${part.slice(0, 80)}" is no entry: address:length.`);
    }
    const phys = replay.objects.resolve(command, part.slice(0, colon));
    if (phys === null) return null;
    entries.push({ phys: phys.address, length });
  }
  return entries;
}

function fromSet(replay: ApiReplay, command: CommandReader): Entry[] | null {
  const set = replay.objects.sets.get(command.text('set'));
  const from = command.number('from', MOST_ENTRIES, 0);
  const count = command.number('n', MOST_ENTRIES);
  const step = command.number('step', MOST_ENTRIES, 1);
  const offset = command.bytes('off', 0);
  const length = command.bytes('len', PAGE_SIZE);
  if (set === undefined) return null;
  const entries: Entry[] = [];
  for (let index = 0; index < count; index += 1) {
    const page = pageAt(set, from + index * step);
    if (page === null) return null;
    entries.push({ phys: page * PAGE_SIZE + offset, length });
  }
  return entries;
}
