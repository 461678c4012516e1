/**
 * The words of each misuse: those that kernel/dma/debug.c prints, so that a message from here and one from a real machine
 * can be searched for alike; for the two-step API, of which the kernel checks nothing, in the same manner.
 */
import type { DmaDirection } from '../attributes.ts';
import type { MappingType } from './mappingBook.ts';

const DIRECTIONS = ['DMA_BIDIRECTIONAL', 'DMA_TO_DEVICE', 'DMA_FROM_DEVICE', 'DMA_NONE'] as const;

export function dmaDirectionName(direction: number): string {
  return DIRECTIONS[direction] ?? String(direction);
}

/** `%016llx` */
export function hex16(value: number): string {
  return value < 0 ? 'ffffffffffffffff' : value.toString(16).padStart(16, '0');
}

/** `[device address=0x%016llx] [size=%llu bytes]` */
export function where(address: number, size: number): string {
  return `[device address=0x${hex16(address)}] [size=${size} bytes]`;
}

export function directions(mapped: DmaDirection, given: DmaDirection, verb: 'unmapped' | 'synced'): string {
  return `[mapped with ${dmaDirectionName(mapped)}] [${verb} with ${dmaDirectionName(given)}]`;
}

export function functions(mapped: MappingType, unmapped: MappingType): string {
  return `[mapped as ${mapped}] [unmapped as ${unmapped}]`;
}
