/**
 * Why a translation was refused (VT-d specification 7.1.3, fault reasons of DMA translation, legacy mode), and the record of
 * it: a count per run and, in the event log, the first ones of each device with the words that Linux prints.
 * Leaves out: the fault recording registers and their overflow.
 */
import { COUNTER, type Counters } from '../metrics/counters.ts';
import type { EventLog } from '../metrics/eventLog.ts';

export const NO_FAULT = 0;
export const FAULT_ROOT_NOT_PRESENT = 0x1;
export const FAULT_CONTEXT_NOT_PRESENT = 0x2;
export const FAULT_ADDRESS_BEYOND_WIDTH = 0x4;
export const FAULT_WRITE_NOT_ALLOWED = 0x5;
export const FAULT_READ_NOT_ALLOWED = 0x6;
export const FAULT_RESERVED_BITS = 0xc;
export const FAULT_TYPE_BLOCKED = 0xd;

const FAULT_WORDS: Readonly<Record<number, string>> = {
  [FAULT_ROOT_NOT_PRESENT]: 'the device has no root entry',
  [FAULT_CONTEXT_NOT_PRESENT]: 'the device has no context entry',
  [FAULT_ADDRESS_BEYOND_WIDTH]: "the address lies beyond the domain's address width",
  [FAULT_WRITE_NOT_ALLOWED]: 'the page is not mapped for writing',
  [FAULT_READ_NOT_ALLOWED]: 'the page is not mapped for reading',
  [FAULT_RESERVED_BITS]: 'a page-table entry has reserved bits set',
  [FAULT_TYPE_BLOCKED]: "the device's entry does not allow requests of this kind",
};

export function faultWords(reason: number): string {
  return FAULT_WORDS[reason] ?? 'unknown';
}

/** Faults of one device that are written to the log; further ones are counted only. */
const LOGGED_PER_DEVICE = 32;

export class FaultRecorder {
  private readonly name: string;
  private readonly counters: Counters;
  private readonly log: EventLog | null;
  private readonly logged = new Map<number, number>();

  constructor(name: string, counters: Counters, log: EventLog | null) {
    this.name = name;
    this.counters = counters;
    this.log = log;
  }

  record(at: number, sourceId: number, iovaPage: number, write: boolean, reason: number): void {
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
    const reasonText = `reason 0x${reason.toString(16).padStart(2, '0')}: ${faultWords(reason)}`;
    this.log.add(
      at,
      'error',
      this.name,
      `DMA ${write ? 'write' : 'read'} by ${device} at ${address} refused, ${reasonText}`,
    );
  }
}

/** A requester id as lspci prints it: bus:device.function. */
function sourceIdText(sourceId: number): string {
  const bus = (sourceId >> 8).toString(16).padStart(2, '0');
  const device = ((sourceId >> 3) & 31).toString(16).padStart(2, '0');
  return `${bus}:${device}.${String(sourceId & 7)}`;
}
