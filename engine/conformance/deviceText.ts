/**
 * One line of text for everything that a device log says of a request, the same for the recorded hardware and for the emulated
 * one: two requests agree at the device when their lines do. Addresses are places in the request's ranges or in the drive's
 * queues; a page-table entry is shown where it maps the request's data, since what lies behind the queues is the past's.
 */
import type { DeviceInvalidation, DeviceLogRecord, DeviceLookup, DeviceTranslation } from '../formats/deviceLog.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import { type DeviceRoles, placeName } from './deviceRoles.ts';
import type { LoggedCommand } from './deviceUnits.ts';
import type { RecordedLine } from './recordedLists.ts';
import type { RangeNames } from './traceText.ts';

const ENTRY_ADDRESS_DIGITS = 3;

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

export const deviceLines = {
  doorbell(tail: number): string {
    return `doorbell tail ${tail}`;
  },
  notRung(): string {
    return 'the drive looks at the queue without having been rung';
  },
  command(opcode: number): string {
    return `command opcode ${hex(opcode)}`;
  },
  transfer(write: boolean, lba: number, blocks: number, bytes: number): string {
    return `${write ? 'write' : 'read'} lba ${hex(lba)} nlb ${blocks} count ${bytes}`;
  },
  prp(first: number, length: number, prp1: string, prp2: string, entries: number): string {
    return `map_prp trans_len ${first} len ${length} prp1 ${prp1} prp2 ${prp2} num_prps ${entries}`;
  },
  sgl(type: number, length: number): string {
    return `map_sgl type ${hex(type)} len ${length}`;
  },
  address(place: string, length: number): string {
    return `map_addr ${place} len ${length}`;
  },
  lookup(hit: boolean, place: string, entry: string | null, mask: number): string {
    return `IOTLB ${hit ? 'hit' : 'fill'} ${place}${entry === null ? '' : ` entry 0x${entry}`} mask ${hex(mask)}`;
  },
  complete(): string {
    return 'the transfer completes';
  },
  invalidate(granularity: string, place: string, mask: number): string {
    return granularity === 'page'
      ? `iotlb invalidate page addr ${place} mask ${mask}`
      : `iotlb invalidate ${granularity}`;
  },
  wait(): string {
    return 'wait descriptor';
  },
};

export function invalidationText(record: DeviceInvalidation, names: RangeNames): string {
  return deviceLines.invalidate(record.granularity, names.address(record.address), record.mask);
}

/** Writes the recorded lines of one command. */
export class LoggedLines {
  readonly #command: LoggedCommand;
  readonly #roles: DeviceRoles;
  readonly #names: RangeNames;
  readonly #oddities: ReadonlyMap<DeviceLogRecord, string>;
  #next = 0;

  constructor(
    command: LoggedCommand,
    roles: DeviceRoles,
    names: RangeNames,
    oddities: ReadonlyMap<DeviceLogRecord, string>,
  ) {
    this.#oddities = oddities;
    this.#command = command;
    this.#roles = roles;
    this.#names = names;
  }

  /** What is new since the last call and stands before the line `end`. */
  until(end: number): RecordedLine[] {
    const { records } = this.#command;
    const found: RecordedLine[] = [];
    for (let record = records[this.#next]; record !== undefined && record.line < end; record = records[this.#next]) {
      this.#next += 1;
      const text = this.#text(record, records[this.#next], records[this.#next - 2]);
      const odd = this.#oddities.get(record);
      if (text !== null) found.push({ text: odd === undefined ? text : `${text}, ${odd}`, line: record.line });
    }
    return found;
  }

  #text(
    record: DeviceLogRecord,
    next: DeviceLogRecord | undefined,
    before: DeviceLogRecord | undefined,
  ): string | null {
    const names = this.#names;
    switch (record.event) {
      case 'lookup':
        return lookupText(record, next, this.#roles, names, this.#isData(record.iova));
      case 'translation':
        return before?.event === 'lookup' ? null : `a translation of ${names.address(record.iova)} without a lookup`;
      case 'command':
        return deviceLines.command(record.opcode);
      case 'transfer':
        return record.commandId === this.#command.commandId
          ? deviceLines.transfer(record.write, record.lba, record.blocks, record.bytes)
          : `a transfer of cid ${record.commandId}`;
      case 'prp':
        return deviceLines.prp(
          record.first,
          record.length,
          names.address(record.prp1),
          names.address(record.prp2),
          record.entries,
        );
      case 'sgl':
        return deviceLines.sgl(record.type, record.length);
      case 'address':
        return deviceLines.address(names.address(record.address), record.length);
      case 'complete':
        return deviceLines.complete();
      default:
        return null;
    }
  }

  #isData(address: number): boolean {
    return this.#command.records.some(
      (record) => record.event === 'address' && address >= record.address && address < record.address + record.length,
    );
  }
}

/** `next` is what follows the lookup in the log: its translation, if nothing is amiss. */
export function lookupText(
  record: DeviceLookup,
  next: DeviceLogRecord | undefined,
  roles: DeviceRoles,
  names: RangeNames,
  data: boolean,
): string {
  const translation = next?.event === 'translation' ? next : null;
  const place = roles.placeOf(record.iova);
  const name = place === null ? names.address(record.iova) : placeName(place);
  const entry = place === null && data ? record.entry : null;
  const text = deviceLines.lookup(record.hit, name, entry, translation?.mask ?? 0);
  return `${text}${mismatch(record, translation, roles)}`;
}

/** Empty where the lines of one access fit each other and the drive. */
function mismatch(lookup: DeviceLookup, translation: DeviceTranslation | null, roles: DeviceRoles): string {
  if (lookup.sourceId !== roles.sourceId) return ` sid ${hex(lookup.sourceId)}`;
  if (lookup.domainId !== roles.domainId) return ` domain ${hex(lookup.domainId)}`;
  if (translation === null) return ' without its translation';
  const page = lookup.iova - (lookup.iova % (translation.mask + 1));
  const frame = Number.parseInt(`0${lookup.entry.slice(0, -ENTRY_ADDRESS_DIGITS)}`, 16) * PAGE_SIZE;
  const fits = translation.sourceId === lookup.sourceId && translation.iova === page && translation.address === frame;
  return fits ? '' : ` translated as ${hex(translation.iova)} -> ${hex(translation.address)}`;
}
