/**
 * The words of single mappings: `map`, `mapphys`, `res`, `unmap`, `unres`, and `synccpu`, `syncdev` on them
 * (`dma_map_page_attrs`, `dma_map_phys`, `dma_map_resource`, `dma_sync_single_for_*` in Linux kernel/dma/mapping.c). A mapping
 * that failed names nothing.
 */
import { DMA_ATTR_MMIO } from '../dma/attributes.ts';
import { ENOMEM } from '../dma/errno.ts';
import { dmaMapPage, pageAttributes } from '../dma/mapPage.ts';
import { DMA_MAPPING_ERROR } from '../memory/addresses.ts';
import type { CommandReader, MappingObject } from './linuxApiObjects.ts';
import { type ApiReplay, UNKNOWN_OBJECT, type Word } from './linuxApiReplay.ts';
import { type ApiFields, hexadecimal } from './linuxApiValue.ts';

export const map: Word = (replay, command) => mapAs(replay, command, 'page', 'dma_map_page_attrs');

/** `dma_map_phys` came with 6.18. */
export const mapphys: Word = (replay, command) =>
  replay.machine.profile.singleMapCall === 'dma_map_phys'
    ? mapAs(replay, command, 'phys', 'dma_map_phys')
    : UNKNOWN_OBJECT;

export const res: Word = (replay, command) => mapAs(replay, command, 'resource', 'dma_map_resource');

function mapAs(replay: ApiReplay, command: CommandReader, call: MappingObject['call'], fn: string): ApiFields {
  const { api, device } = replay.machine;
  const { objects } = replay.objects;
  const phys = replay.objects.resolve(command, command.text('phys'));
  if (phys === null) return UNKNOWN_OBJECT;
  const size = command.bytes('size');
  const direction = command.direction();
  const given = command.attributes();
  let attributes = given;
  if (call === 'resource') attributes |= DMA_ATTR_MMIO;
  else if (call === 'page') attributes = pageAttributes(api, given);
  const address =
    call === 'page'
      ? dmaMapPage(replay.cpu, api, device, phys.address, size, direction, attributes)
      : api.dmaMapPhys(replay.cpu, device, phys.address, size, direction, attributes);
  const failed = address === DMA_MAPPING_ERROR;
  if (failed) objects.delete(command.name);
  else objects.set(command.name, { kind: 'mapping', call, address, size, direction, attributes });
  return {
    fn,
    phys: hexadecimal(phys.address),
    size,
    dir: direction,
    ...(call === 'resource' ? {} : { attrs: given }),
    dma: hexadecimal(address),
    err: failed ? ENOMEM : 0,
  };
}

export const unmap: Word = (replay, command) => {
  const mapping = replay.objects.find(command.name, 'mapping');
  if (mapping === null) return { fn: 'unmap', missing: 1 };
  release(replay, command.name, mapping);
  return {
    fn: mapping.call === 'phys' ? 'dma_unmap_phys' : 'dma_unmap_page_attrs',
    dma: hexadecimal(mapping.address),
    size: mapping.size,
    dir: mapping.direction,
  };
};

export const unres: Word = (replay, command) => {
  const mapping = replay.objects.find(command.name, 'mapping');
  if (mapping === null) return {};
  release(replay, command.name, mapping);
  return { fn: 'dma_unmap_resource', dma: hexadecimal(mapping.address), size: mapping.size };
};

export const synccpu: Word = (replay, command) => {
  const mapping = replay.objects.find(command.name, 'mapping');
  if (mapping === null) return UNKNOWN_OBJECT;
  const { address, size, direction } = mapping;
  replay.machine.api.dmaSyncSingleForCpu(replay.cpu, replay.machine.device, address, size, direction);
  return { fn: 'dma_sync_single_for_cpu', dma: hexadecimal(address), size, dir: direction };
};

export const syncdev: Word = (replay, command) => {
  const mapping = replay.objects.find(command.name, 'mapping');
  if (mapping === null) return UNKNOWN_OBJECT;
  const { address, size, direction } = mapping;
  replay.machine.api.dmaSyncSingleForDevice(replay.cpu, replay.machine.device, address, size, direction);
  return { fn: 'dma_sync_single_for_device', dma: hexadecimal(address), size, dir: direction };
};

/** Unmaps, and forgets the name. */
export function release(replay: ApiReplay, name: string, mapping: MappingObject): void {
  const { api, device } = replay.machine;
  api.dmaUnmapPhys(replay.cpu, device, mapping.address, mapping.size, mapping.direction, mapping.attributes);
  replay.objects.objects.delete(name);
}
