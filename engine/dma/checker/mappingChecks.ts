/**
 * The checks of CONFIG_DMA_API_DEBUG on mappings made by one call (Linux kernel/dma/debug.c: `check_unmap`, `check_sync`,
 * `check_sg_segment`, `debug_dma_mapping_error`, `dma_debug_device_change`), in the kernel's order and words.
 */
import { DMA_MAPPING_ERROR } from '../../memory/addresses.ts';
import { DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, DMA_TO_DEVICE, type DmaDirection } from '../attributes.ts';
import type { ScatterList } from '../scatterList.ts';
import type { ApiChecker } from './apiChecker.ts';
import { MAX_OVERLAP } from './cacheLines.ts';
import { CallHistory, type RecordedCall } from './callHistory.ts';
import type { CheckedDevice } from './checkedDevice.ts';
import type { MappingEntry, MappingReference, MappingType } from './mappingBook.ts';
import type { MisuseKind } from './misuse.ts';
import { directions, dmaDirectionName, functions, hex16, where } from './misuseMessages.ts';

export interface NewMapping {
  readonly type: MappingType;
  readonly address: number;
  readonly size: number;
  readonly phys: number;
  readonly direction: DmaDirection;
  readonly attributes: number;
  readonly sgCallEntries?: number;
  readonly sgMappedEntries?: number;
}

export interface Unmapping extends Omit<MappingReference, 'sgCallEntries'> {
  readonly sgCallEntries?: number;
  /** Where the CPU finds coherent memory, as the driver says; left out where that does not apply. */
  readonly phys?: number;
}

export class MappingChecks {
  private readonly checker: ApiChecker;

  constructor(checker: ApiChecker) {
    this.checker = checker;
  }

  /** A mapping has come about. `history` is shared by the segments of one scatterlist. */
  mapped(owner: CheckedDevice, mapping: NewMapping, call: RecordedCall, history = new CallHistory()): void {
    if (mapping.sgMappedEntries === undefined) history.add(call);
    const entry: MappingEntry = {
      ...mapping,
      sgCallEntries: mapping.sgCallEntries ?? 0,
      sgMappedEntries: mapping.sgMappedEntries ?? 0,
      errorChecked: mapping.type !== 'single' && mapping.type !== 'phy',
      history,
    };
    const others = owner.addMapping(entry);
    const [other] = others;
    if (other === undefined) return;
    const message = "cacheline tracking EEXIST, overlapping mappings aren't supported";
    this.report('overlappingCacheLine', `${message} ${where(entry.address, entry.size)}`, owner, call, other);
    if (others.length > MAX_OVERLAP) {
      const line = `0x${mapping.phys.toString(16)}`;
      const exceeded = `exceeded ${MAX_OVERLAP} overlapping mappings of cacheline ${line}`;
      this.report('tooManyOverlaps', exceeded, owner, call, other);
    }
  }

  segmentLength(owner: CheckedDevice, length: number, call: RecordedCall): void {
    const { maxSegmentSize } = owner.device;
    if (length <= maxSegmentSize) return;
    const message = `mapping sg segment longer than device claims to support [len=${length}] [max=${maxSegmentSize}]`;
    this.report('sgSegmentTooLong', message, owner, call, null);
  }

  segmentBoundary(owner: CheckedDevice, start: number, length: number, call: RecordedCall): void {
    const span = owner.device.segBoundaryMask + 1;
    const end = start + length - 1;
    if (Math.floor(start / span) === Math.floor(end / span)) return;
    const places = `[start=0x${hex16(start)}] [end=0x${hex16(end)}] [boundary=0x${hex16(span - 1)}]`;
    this.report('sgSegmentAcrossBoundary', `mapping sg segment across boundary ${places}`, owner, call, null);
  }

  /** `debug_dma_mapping_error`: the driver has asked. */
  errorChecked(owner: CheckedDevice, address: number): void {
    const entry = owner.mappings.entries.get(address)?.find((candidate) => !candidate.errorChecked);
    if (entry !== undefined) entry.errorChecked = true;
  }

  /** `check_unmap`: the mapping is gone after this call, whatever was wrong with it. */
  unmap(owner: CheckedDevice, given: Unmapping, call: RecordedCall): void {
    const reference: MappingReference = { ...given, sgCallEntries: given.sgCallEntries ?? 0 };
    const entry = owner.mappings.find(reference);
    const { address, size } = reference;
    if (entry === null) {
      this.notMapped(owner, address, size, call);
      return;
    }
    const wrong = (kind: MisuseKind, message: string): void => {
      this.report(kind, message, owner, call, entry);
    };
    const frees = 'device driver frees DMA memory with';
    if (entry.size !== size) {
      const sizes = `[map size=${entry.size} bytes] [unmap size=${size} bytes]`;
      wrong('freeOtherSize', `${frees} different size [device address=0x${hex16(address)}] ${sizes}`);
    }
    if (entry.type !== given.type) {
      wrong(
        'freeWrongFunction',
        `${frees} wrong function ${where(address, size)} ${functions(entry.type, given.type)}`,
      );
    } else if (given.phys !== undefined && given.phys !== entry.phys) {
      const places = `[cpu alloc address=0x${hex16(entry.phys)}] [cpu free address=0x${hex16(given.phys)}]`;
      wrong('freeOtherCpuAddress', `${frees} different CPU address ${where(address, size)} ${places}`);
    }
    if (reference.sgCallEntries !== 0 && given.type === entry.type && reference.sgCallEntries !== entry.sgCallEntries) {
      const counts = `[map count=${entry.sgCallEntries}] [unmap count=${reference.sgCallEntries}]`;
      wrong('freeOtherSgCount', `device driver frees DMA sg list with different entry count ${counts}`);
    }
    if (entry.direction !== reference.direction) {
      const words = directions(entry.direction, reference.direction, 'unmapped');
      wrong('freeOtherDirection', `${frees} different direction ${where(address, size)} ${words}`);
    }
    if (!entry.errorChecked) {
      const place = `${where(address, size)} [mapped as ${entry.type}]`;
      wrong('mappingErrorNotChecked', `device driver failed to check map error${place}`);
    }
    entry.history.add(call);
    owner.removeMapping(entry);
  }

  /** `debug_dma_unmap_sg`: the segments that the mapping had, not those that the driver now counts. */
  unmapSg(owner: CheckedDevice, list: ScatterList, direction: DmaDirection, call: RecordedCall): void {
    let segments = 0;
    for (let index = 0; index < list.count; index += 1) {
      if (segments > 0 && index >= segments) break;
      const reference = {
        type: 'scatter-gather' as const,
        address: list.dmaAddress[index]!,
        size: list.dmaLength[index]!,
        direction,
        sgCallEntries: list.count,
      };
      if (index === 0) segments = owner.mappings.find(reference)?.sgMappedEntries ?? 0;
      this.unmap(owner, reference, call);
    }
  }

  /** `check_sync`. */
  sync(owner: CheckedDevice, reference: MappingReference, forCpu: boolean, call: RecordedCall): void {
    const entry = owner.mappings.findContaining(reference);
    const { address, size, direction } = reference;
    if (entry === null) {
      const message = `device driver tries to sync DMA memory it has not allocated ${where(address, size)}`;
      this.checker.report('syncNotAllocated', message, owner.device, call, this.pastOf(owner, address));
      return;
    }
    const wrong = (kind: MisuseKind, message: string): void => {
      this.report(kind, message, owner, call, entry);
    };
    const words = `${where(address, size)} ${directions(entry.direction, direction, 'synced')}`;
    const end = address - entry.address + size;
    if (end > entry.size) {
      const sizes = `[device address=0x${hex16(entry.address)}] [allocation size=${entry.size} bytes] [sync offset+size=${end}]`;
      wrong('syncOutsideRange', `device driver syncs DMA memory outside allocated range ${sizes}`);
    }
    if (entry.direction !== DMA_BIDIRECTIONAL) {
      if (direction !== entry.direction) {
        wrong('syncOtherDirection', `device driver syncs DMA memory with different direction ${words}`);
      }
      if (forCpu && entry.direction === DMA_TO_DEVICE && direction !== DMA_TO_DEVICE) {
        wrong('syncReadOnlyForCpu', `device driver syncs device read-only DMA memory for cpu ${words}`);
      }
      if (!forCpu && entry.direction === DMA_FROM_DEVICE && direction !== DMA_FROM_DEVICE) {
        wrong('syncWriteOnlyForDevice', `device driver syncs device write-only DMA memory to device ${words}`);
      }
      if (reference.sgCallEntries !== 0 && entry.sgCallEntries !== reference.sgCallEntries) {
        const counts = `[map count=${entry.sgCallEntries}] [sync count=${reference.sgCallEntries}]`;
        wrong('syncOtherSgCount', `device driver syncs DMA sg list with different entry count ${counts}`);
      }
    }
    entry.history.add(call);
  }

  /** `debug_dma_sync_sg_for_cpu`, `debug_dma_sync_sg_for_device`. */
  syncSg(owner: CheckedDevice, list: ScatterList, direction: DmaDirection, forCpu: boolean, call: RecordedCall): void {
    for (let index = 0; index < list.mappedCount; index += 1) {
      const address = list.dmaAddress[index]!;
      const size = list.dmaLength[index]!;
      const sgCallEntries = list.count;
      this.sync(owner, { type: 'scatter-gather', address, size, direction, sgCallEntries }, forCpu, call);
    }
  }

  /** `dma_debug_device_change`: the driver is gone, and so is whatever it left mapped. */
  driverUnbound(owner: CheckedDevice, keepsCoherent: boolean, call: RecordedCall): void {
    const leaked = [...owner.mappings.live()].filter(({ type }) => !keepsCoherent || type !== 'coherent');
    const ranges = [...owner.states.live()];
    const count = leaked.length + ranges.length;
    if (count === 0) return;
    const entry = leaked[0];
    const range = ranges[0];
    const details =
      entry === undefined
        ? `${where(range?.address ?? DMA_MAPPING_ERROR, range?.size ?? 0)} [mapped as iova]`
        : `${where(entry.address, entry.size)} [mapped with ${dmaDirectionName(entry.direction)}] [mapped as ${entry.type}]`;
    const message = `device driver has pending DMA allocations while released from device [count=${count}]`;
    const history = entry?.history ?? range?.history ?? null;
    const words = `${message} One of leaked entries details: ${details}`;
    this.checker.report('pendingAtRelease', words, owner.device, call, history);
  }

  private notMapped(owner: CheckedDevice, address: number, size: number, call: RecordedCall): void {
    if (address === DMA_MAPPING_ERROR) {
      const message = 'device driver tries to free an invalid DMA memory address';
      this.checker.report('freeInvalidAddress', message, owner.device, call);
      return;
    }
    const message = `device driver tries to free DMA memory it has not allocated ${where(address, size)}`;
    this.checker.report('freeNotAllocated', message, owner.device, call, this.pastOf(owner, address));
  }

  private pastOf(owner: CheckedDevice, address: number): CallHistory | null {
    return owner.mappings.lastAt(address)?.history ?? owner.states.lastAt(address)?.history ?? null;
  }

  private report(
    kind: MisuseKind,
    message: string,
    owner: CheckedDevice,
    call: RecordedCall,
    entry: MappingEntry | null,
  ): void {
    this.checker.report(kind, message, owner.device, call, entry?.history ?? null);
  }
}
