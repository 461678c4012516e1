/**
 * Why a translation was refused, and the record of it: a count per run and, in the event log, the first ones of each device in the words and
 * with the number of the vendor's manual (faultNames.ts). The reasons that all vendors share are numbered as VT-d's in legacy mode are (VT-d
 * specification 7.1.3).
 * Leaves out: the fault recording registers and their overflow.
 */
import { COUNTER, type Counters } from '../metrics/counters.ts';
import type { EventLog } from '../metrics/eventLog.ts';
import type { FaultPlace, VendorNames } from './faultNames.ts';

export const NO_FAULT = 0;
export const FAULT_ROOT_NOT_PRESENT = 0x1;
export const FAULT_CONTEXT_NOT_PRESENT = 0x2;
export const FAULT_CONTEXT_INVALID = 0x3;
export const FAULT_ADDRESS_BEYOND_WIDTH = 0x4;
export const FAULT_WRITE_NOT_ALLOWED = 0x5;
export const FAULT_READ_NOT_ALLOWED = 0x6;
export const FAULT_RESERVED_BITS = 0xc;
export const FAULT_TYPE_BLOCKED = 0xd;
/** Added to a number of the vendor's own, where one of its tables of devices refuses. */
export const OWN_FAULT = 0x1000;

/** Faults of one device that are written to the log; further ones are counted only. */
const LOGGED_PER_DEVICE = 32;

export class FaultRecorder {
  private readonly name: string;
  private readonly counters: Counters;
  private readonly log: EventLog | null;
  private readonly names: VendorNames;
  private readonly logged = new Map<number, number>();

  constructor(name: string, counters: Counters, log: EventLog | null, names: VendorNames) {
    this.name = name;
    this.counters = counters;
    this.log = log;
    this.names = names;
  }

  record(at: number, sourceId: number, iovaPage: number, reason: number, place: FaultPlace): void {
    this.counters.values[COUNTER.faults]! += 1;
    const before = this.logged.get(sourceId) ?? 0;
    this.logged.set(sourceId, before + 1);
    if (this.log === null || before > LOGGED_PER_DEVICE) return;
    const device = sourceIdText(sourceId);
    if (before === LOGGED_PER_DEVICE) {
      this.log.add(at, 'warning', this.name, `device ${device}: further faults are counted, not listed`);
      return;
    }
    const address = `0x${(iovaPage * 4096).toString(16)}`;
    const { code, words } = this.names.fault(reason, place);
    this.log.add(
      at,
      'error',
      this.name,
      `DMA ${place.write ? 'write' : 'read'} by ${device} at ${address} refused, ${code}: ${words}`,
    );
  }
}

/** A requester id as lspci prints it: bus:device.function. */
function sourceIdText(sourceId: number): string {
  const bus = (sourceId >> 8).toString(16).padStart(2, '0');
  const device = ((sourceId >> 3) & 31).toString(16).padStart(2, '0');
  return `${bus}:${device}.${String(sourceId & 7)}`;
}
