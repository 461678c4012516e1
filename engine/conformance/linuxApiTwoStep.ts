/**
 * The words of the two-step API: `alloc`, `link`, `sync`, `unlink`, `destroy` and `free` are `dma_iova_*`
 * (Linux include/linux/dma-mapping.h). A state keeps its values after free and destroy, as the kernel's does.
 */
import { DmaIovaState } from '../dma/twoStep.ts';
import { LARGEST_MAPPING, type CommandReader } from './linuxApiObjects.ts';
import { type ApiReplay, UNKNOWN_OBJECT, type Word } from './linuxApiReplay.ts';
import { type ApiFields, exactNumber, hexadecimal } from './linuxApiValue.ts';

/** Bit 63 of the size: some part of the range was bounced (`DMA_IOVA_USE_SWIOTLB`). */
const USE_SWIOTLB = 1n << 63n;
const LARGEST_SIZE = 2 ** 64;

export const alloc: Word = (replay, command) => {
  const { api, device, profile } = replay.machine;
  if (!profile.twoStepAvailable) return UNKNOWN_OBJECT;
  const phys = replay.objects.resolve(command, command.text('phys'));
  if (phys === null) return UNKNOWN_OBJECT;
  const size = command.number('size', LARGEST_SIZE);
  const state = new DmaIovaState();
  const allocated = api.dmaIovaTryAlloc(replay.cpu, device, state, phys.address, size);
  if (allocated) replay.objects.objects.set(command.name, { kind: 'state', state });
  else replay.objects.objects.delete(command.name);
  return {
    fn: 'dma_iova_try_alloc',
    phys: hexadecimal(phys.address),
    size: exactNumber(command.text('size')),
    ret: allocated ? 1 : 0,
    use_iova: state.inUse ? 1 : 0,
    state: stateFields(state),
  };
};

export const link: Word = (replay, command) => {
  const { api, device } = replay.machine;
  const state = stateOf(replay, command);
  const phys = replay.objects.resolve(command, command.text('phys'));
  if (state === null || phys === null) return UNKNOWN_OBJECT;
  const off = command.bytes('off');
  const size = command.bytes('size');
  const dir = command.direction();
  const attrs = command.attributes();
  const ret = api.dmaIovaLink(replay.cpu, device, state, phys.address, off, size, dir, attrs);
  return {
    fn: 'dma_iova_link',
    phys: hexadecimal(phys.address),
    off,
    size,
    dir,
    attrs,
    ret,
    state: stateFields(state),
  };
};

export const sync: Word = (replay, command) => {
  const { api, device } = replay.machine;
  const state = stateOf(replay, command);
  if (state === null) return UNKNOWN_OBJECT;
  const off = command.bytes('off');
  const size = command.bytes('size');
  const ret = api.dmaIovaSync(replay.cpu, device, state, off, size);
  return { fn: 'dma_iova_sync', off, size, ret, state: stateFields(state) };
};

export const unlink: Word = (replay, command) => {
  const { api, device } = replay.machine;
  const state = stateOf(replay, command);
  if (state === null) return UNKNOWN_OBJECT;
  const off = command.bytes('off');
  const size = command.bytes('size');
  const dir = command.direction();
  api.dmaIovaUnlink(replay.cpu, device, state, off, size, dir, command.attributes());
  return { fn: 'dma_iova_unlink', off, size, dir, state: stateFields(state) };
};

export const destroy: Word = (replay, command) => {
  const { api, device } = replay.machine;
  const state = stateOf(replay, command);
  if (state === null) return UNKNOWN_OBJECT;
  const length = command.number('len', LARGEST_MAPPING);
  const dir = command.direction();
  api.dmaIovaDestroy(replay.cpu, device, state, length, dir, command.attributes());
  return { fn: 'dma_iova_destroy', mapped_len: length, dir, state: stateFields(state) };
};

export const free: Word = (replay, command) => {
  const { api, device } = replay.machine;
  const state = stateOf(replay, command);
  if (state === null) return UNKNOWN_OBJECT;
  api.dmaIovaFree(replay.cpu, device, state);
  return { fn: 'dma_iova_free', state: stateFields(state) };
};

function stateOf(replay: ApiReplay, command: CommandReader): DmaIovaState | null {
  return replay.objects.find(command.name, 'state')?.state ?? null;
}

export function rawSize(state: DmaIovaState): string {
  return hexadecimal(BigInt(state.size) | (state.usesSwiotlb ? USE_SWIOTLB : 0n));
}

function stateFields(state: DmaIovaState): ApiFields {
  return {
    addr: hexadecimal(state.address),
    size: state.size,
    raw_size: rawSize(state),
    swiotlb: state.usesSwiotlb ? 1 : 0,
  };
}
