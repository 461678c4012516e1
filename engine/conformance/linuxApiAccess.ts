/**
 * The words that look at memory. The CPU's: `peek`, `poke`; through the page table, as the CPU finds it: `walk`, `i2p`,
 * `devpeek`, `devpoke` (`iommu_iova_to_phys`); the device's, through the IOMMU: `edurd`, `eduwr`, and `edustale`, which unmaps
 * and lets the device in before any timer.
 * A device access moves a buffer `SCR` of coherent memory as well: the device first takes that in, then does what was
 * asked, and for a read hands back what it got.
 */
import { EDU_BUFFER_BYTES } from '../devices/eduDevice.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import { addressOf, type CommandReader } from './linuxApiObjects.ts';
import { type ApiReplay, UNKNOWN_OBJECT, type Word } from './linuxApiReplay.ts';
import { release } from './linuxApiSingle.ts';
import { type ApiFields, type ApiValue, hexadecimal } from './linuxApiValue.ts';

const SCRATCH_BUFFER = 'SCR';
/** What the scratch buffer holds before a read, and before the device hands back what it read. */
const BEFORE_READ = 0xee;
const BEFORE_HAND_BACK = 0xdd;
const PRINTED_BYTES = 32;
const STALE_BYTES = 16;
const MOST_POKED = 64 * 1024 * 1024;
/** The module prints no more pages of a walk. */
const MOST_WALKED_PAGES = 512;

export const walk: Word = (replay, command) => {
  const object = replay.objects.objects.get(command.name);
  const found = object === undefined ? { shown: 0, size: 1 } : addressOf(object);
  const asked = command.has('size') ? command.bytes('size') : found.size;
  const offset = found.shown % PAGE_SIZE;
  const from = found.shown - offset;
  const pages = Math.min(Math.ceil((asked + (asked === 0 ? 0 : offset)) / PAGE_SIZE), MOST_WALKED_PAGES);
  const phys = Array.from({ length: pages }, (_, page): ApiValue => shownTarget(replay, from + page * PAGE_SIZE));
  return { fn: 'walk', from: hexadecimal(from), phys };
};

export const i2p: Word = (replay, command) => {
  const target = replay.objects.resolve(command, command.text('addr'));
  if (target === null) return UNKNOWN_OBJECT;
  return { fn: 'iommu_iova_to_phys', iova: hexadecimal(target.shown), phys: shownTarget(replay, target.shown) };
};

export const save: Word = (replay, command) => {
  const target = replay.objects.resolve(command, command.text('addr'));
  if (target === null) return UNKNOWN_OBJECT;
  replay.objects.objects.set(command.name, { kind: 'saved', address: target.shown });
  return { fn: 'save', addr: hexadecimal(target.shown) };
};

export const peek: Word = (replay, command) => {
  const phys = replay.objects.resolve(command, command.text('phys'));
  if (phys === null) return UNKNOWN_OBJECT;
  const bytes = new Uint8Array(Math.min(command.number('size', EDU_BUFFER_BYTES), PRINTED_BYTES));
  replay.machine.memory.readBytes(phys.address, bytes, 0, bytes.length);
  return { fn: 'peek', phys: hexadecimal(phys.address), bytes: byteText(bytes) };
};

export const poke: Word = (replay, command) => {
  const phys = replay.objects.resolve(command, command.text('phys'));
  if (phys === null) return UNKNOWN_OBJECT;
  replay.fill(command, phys.address, command.number('size', MOST_POKED), command.number('val', 255));
  return { fn: 'poke', phys: hexadecimal(phys.address) };
};

export const devpeek: Word = (replay, command) => {
  const target = replay.objects.resolve(command, command.text('addr'));
  if (target === null) return UNKNOWN_OBJECT;
  const bytes = new Uint8Array(Math.min(command.number('size', EDU_BUFFER_BYTES), PRINTED_BYTES));
  const phys = replay.iovaToPhys(target.address);
  const fields = { fn: 'devpeek', iova: hexadecimal(target.shown), phys: replay.shownPhys(phys) };
  if (phys === 0) return fields;
  replay.machine.memory.readBytes(phys, bytes, 0, bytes.length);
  return { ...fields, bytes: byteText(bytes) };
};

export const devpoke: Word = (replay, command) => {
  const target = replay.objects.resolve(command, command.text('addr'));
  if (target === null) return UNKNOWN_OBJECT;
  const phys = replay.iovaToPhys(target.address);
  const size = command.number('size', MOST_POKED);
  const value = command.number('val', 255);
  if (phys !== 0) replay.fill(command, phys, size, value);
  return { fn: 'devpoke', iova: hexadecimal(target.shown), phys: replay.shownPhys(phys) };
};

export const edurd: Word = (replay, command) => {
  const target = replay.objects.resolve(command, command.text('addr'));
  const size = command.number('size', EDU_BUFFER_BYTES);
  const scratch = scratchBuffer(replay);
  if (target === null || scratch === null || size === 0) return UNKNOWN_OBJECT;
  takeIn(replay, command, scratch, BEFORE_READ, size);
  deviceFetch(replay, target.address, size);
  const bytes = handBack(replay, command, scratch, size);
  return { fn: 'edurd', iova: hexadecimal(target.shown), size, ret: 0, bytes };
};

export const eduwr: Word = (replay, command) => {
  const target = replay.objects.resolve(command, command.text('addr'));
  const size = command.number('size', EDU_BUFFER_BYTES);
  const value = command.number('val', 255);
  const scratch = scratchBuffer(replay);
  if (target === null || scratch === null || size === 0) return UNKNOWN_OBJECT;
  takeIn(replay, command, scratch, value, size);
  deviceStore(replay, target.address, size);
  return { fn: 'eduwr', iova: hexadecimal(target.shown), size, ret: 0 };
};

/** `polls` counts how long the module waited for the device: time, which is not compared. */
export const edustale: Word = (replay, command) => {
  const mapping = replay.objects.find(command.name, 'mapping');
  const scratch = scratchBuffer(replay);
  if (mapping === null || scratch === null) return UNKNOWN_OBJECT;
  const writes = command.number('wr', 1, 0) === 1;
  const size = command.number('size', EDU_BUFFER_BYTES, STALE_BYTES);
  if (size === 0) throw command.error('it moves nothing.');
  const { polls } = command.record.fields;
  const fields: ApiFields = {
    fn: writes ? 'unmap_then_device_write' : 'unmap_then_device_read',
    iova: hexadecimal(mapping.address),
    size,
    ...(typeof polls === 'number' ? { polls } : {}),
  };
  takeIn(replay, command, scratch, writes ? command.number('val', 255) : BEFORE_READ, size);
  replay.trace.hold();
  release(replay, command.name, mapping);
  if (writes) {
    deviceStore(replay, mapping.address, size);
    replay.trace.release();
    return fields;
  }
  deviceFetch(replay, mapping.address, size);
  replay.trace.release();
  return { ...fields, bytes: handBack(replay, command, scratch, size) };
};

/** As the module prints it: 0 where nothing is mapped. */
function shownTarget(replay: ApiReplay, iova: number): string {
  return replay.shownPhys(replay.iovaToPhys(iova));
}

interface Scratch {
  readonly phys: number;
  readonly address: number;
  readonly size: number;
}

function scratchBuffer(replay: ApiReplay): Scratch | null {
  const buffer = replay.objects.find(SCRATCH_BUFFER, 'coherent');
  return buffer === null ? null : { ...buffer.memory, size: buffer.size };
}

function takeIn(replay: ApiReplay, command: CommandReader, scratch: Scratch, value: number, size: number): void {
  replay.fill(command, scratch.phys, scratch.size, value);
  deviceFetch(replay, scratch.address, size);
}

function handBack(replay: ApiReplay, command: CommandReader, scratch: Scratch, size: number): string {
  replay.fill(command, scratch.phys, scratch.size, BEFORE_HAND_BACK);
  deviceStore(replay, scratch.address, size);
  const bytes = new Uint8Array(Math.min(size, PRINTED_BYTES));
  replay.machine.memory.readBytes(scratch.phys, bytes, 0, bytes.length);
  return byteText(bytes);
}

function deviceFetch(replay: ApiReplay, address: number, size: number): void {
  replay.machine.engine.fetch(address, size);
  replay.machine.settle();
}

function deviceStore(replay: ApiReplay, address: number, size: number): void {
  replay.machine.engine.store(address, size);
  replay.machine.settle();
}

function byteText(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
