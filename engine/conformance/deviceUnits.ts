/**
 * A device log as the pieces in which the emulated hardware does its work, each of which nothing interrupts: the fetch of one
 * command with its lists and data, a completion, the entry that reports it, one invalidation descriptor (QEMU hw/nvme/ctrl.c
 * `nvme_process_sq`, `nvme_rw_complete_cb`, `nvme_post_cqes`; hw/i386/intel_iommu.c `vtd_process_inv_desc`). In which order
 * the pieces come is a matter of time and so an input of the replay; what is inside each piece is compared.
 * Leaves out: admin commands, whose lookups are kept as such.
 */
import type { DeviceInvalidation, DeviceLogRecord, DeviceLookup } from '../formats/deviceLog.ts';
import { type DeviceRoles, QUEUE_ENTRIES } from './deviceRoles.ts';

export interface LoggedCommand {
  readonly queue: number;
  readonly commandId: number;
  readonly opcode: number;
  readonly line: number;
  /** Its first lookup. */
  readonly firstLine: number;
  /** The drive began to work on the queue anew, and so read its tail first. */
  readonly beginsRun: boolean;
  /** The queue was rung since the drive began on it the last time; nothing else makes it begin. */
  readonly rung: boolean;
  /** Everything that the log says of it, in order. */
  readonly records: DeviceLogRecord[];
  /** Entry of the submission queue; -1 where the log does not tell. */
  readonly index: number;
  /** What the driver rings with after writing it. */
  readonly tail: number;
  readonly doorbells: { readonly line: number; readonly tail: number }[];
  lba: number;
  bytes: number;
  completeLine: number;
  /** Its completion queue entry. */
  postLine: number;
  /** Another transfer's end between the lookups of that entry, which nothing interrupts; -1: none. */
  tornLine: number;
}

/** The last line at the device; -1: the log does not show the command's end. In passthrough no entry shows. */
export function endLine({ completeLine, postLine }: LoggedCommand): number {
  if (postLine !== Infinity) return postLine;
  return completeLine === Infinity ? -1 : completeLine;
}

export type DeviceUnit =
  | { readonly kind: 'fetch' | 'complete' | 'post'; readonly line: number; readonly command: LoggedCommand }
  | {
      readonly kind: 'invalidate';
      readonly line: number;
      readonly record: DeviceInvalidation;
      /** A wait descriptor follows. */
      readonly waited: boolean;
    }
  | {
      readonly kind: 'other';
      readonly line: number;
      readonly lookup: DeviceLookup;
      /** Its translation. */
      readonly records: readonly DeviceLogRecord[];
    };

export interface DeviceUnits {
  readonly units: readonly DeviceUnit[];
  readonly commands: readonly LoggedCommand[];
  readonly lastLine: number;
  /** Lines at which the admin queue was rung. */
  readonly adminLines: readonly number[];
}

/** Entries that may be missing from a log that was tampered with, before its completions are no longer told apart. */
const MOST_MISSING = 8;

class UnitReader {
  readonly units: DeviceUnit[] = [];
  readonly commands: LoggedCommand[] = [];
  readonly adminLines: number[] = [];
  readonly #roles: DeviceRoles;
  readonly #completed = new Map<number, LoggedCommand[]>();
  readonly #posted = new Map<number, number>();
  readonly #doorbells: { line: number; queue: number; tail: number }[] = [];
  #current: LoggedCommand | null = null;
  #eventSeen = false;
  #rung = false;
  #torn = -1;
  readonly #rings = new Set<number>();
  #prefix: DeviceLogRecord[] = [];
  #post: DeviceLogRecord[] = [];
  #postQueue = 0;
  /** Where the translation of the last lookup goes. */
  #sink: DeviceLogRecord[] | null = null;

  constructor(roles: DeviceRoles) {
    this.#roles = roles;
  }

  read(record: DeviceLogRecord, next: DeviceLogRecord | undefined): void {
    switch (record.event) {
      case 'lookup':
        this.#lookup(record);
        return;
      case 'translation':
        (this.#sink ?? this.commands.at(-1)?.records)?.push(record);
        this.#sink = null;
        return;
      case 'command':
        this.#command(record);
        return;
      case 'transfer':
      case 'prp':
      case 'sgl':
      case 'address':
        if (this.#current === null) return;
        this.#current.records.push(record);
        if (record.event !== 'transfer') return;
        this.#current.lba = record.lba;
        this.#current.bytes = record.bytes;
        return;
      case 'complete':
        this.#complete(record);
        return;
      case 'doorbell':
        this.#current = null;
        if (record.queue === 0) this.adminLines.push(record.line);
        else {
          this.#rings.add(record.queue);
          this.#doorbell(record);
        }
        return;
      case 'invalidation':
        this.#current = null;
        this.units.push({ kind: 'invalidate', line: record.line, record, waited: next?.event === 'wait' });
        return;
      case 'wait':
        return;
    }
  }

  end(): void {
    this.#flushPrefix();
    this.#flushPost();
  }

  #lookup(record: DeviceLookup): void {
    const place = this.#roles.placeOf(record.iova);
    if (place?.kind !== 'cqHead' && place?.kind !== 'cqEntry') this.#flushPost();
    switch (place?.kind) {
      case 'sqTail':
        if (this.#current?.queue === place.queue && this.#eventSeen) {
          this.#give(this.#current.records, record);
          this.#current = null;
          return;
        }
        this.#current = null;
        this.#flushPrefix();
        this.#rung = this.#rings.delete(place.queue);
        this.#give(this.#prefix, record);
        return;
      case 'sqEntry':
        this.#current = null;
        this.#give(this.#prefix, record);
        return;
      case 'cqEvent':
        this.#current = null;
        this.#postQueue = place.queue;
        this.#give(this.#post, record);
        return;
      case 'cqHead':
        this.#current = null;
        this.#postQueue = place.queue;
        this.#give(this.#post, record);
        return;
      case 'cqEntry':
        this.#current = null;
        this.#postQueue = place.queue;
        this.#give(this.#post, record);
        this.#flushPost(place.index);
        return;
      case 'sqEvent':
        this.#eventSeen = true;
        this.#data(record);
        return;
      case undefined:
        this.#data(record);
    }
  }

  #data(record: DeviceLookup): void {
    if (this.#current !== null) this.#give(this.#current.records, record);
    else {
      const records: DeviceLogRecord[] = [];
      this.units.push({ kind: 'other', line: record.line, lookup: record, records });
      this.#sink = records;
    }
  }

  #give(sink: DeviceLogRecord[], record: DeviceLogRecord): void {
    sink.push(record);
    this.#sink = sink;
  }

  #isEntry(record: DeviceLogRecord): boolean {
    return record.event === 'lookup' && this.#roles.placeOf(record.iova)?.kind === 'sqEntry';
  }

  /** The drive looked for a command and found none. */
  #flushPrefix(): void {
    for (const [index, record] of this.#prefix.entries()) {
      if (record.event !== 'lookup') continue;
      const records = this.#prefix.slice(index + 1, index + 2);
      this.units.push({ kind: 'other', line: record.line, lookup: record, records });
    }
    this.#prefix = [];
  }

  #command(record: Extract<DeviceLogRecord, { event: 'command' }>): void {
    const prefix = this.#prefix;
    this.#prefix = [];
    const entry = prefix.findLast((earlier) => this.#isEntry(earlier));
    const index = entry?.event === 'lookup' ? (this.#roles.placeOf(entry.iova)?.index ?? -1) : -1;
    const first = prefix[0];
    const command: LoggedCommand = {
      queue: record.queue,
      commandId: record.commandId,
      opcode: record.opcode,
      line: record.line,
      firstLine: first?.line ?? record.line,
      beginsRun: first?.event === 'lookup' && this.#roles.placeOf(first.iova)?.kind === 'sqTail',
      records: [...prefix, record],
      rung: this.#rung,
      index,
      tail: (index + 1) % QUEUE_ENTRIES,
      doorbells: [],
      lba: -1,
      bytes: 0,
      completeLine: Infinity,
      postLine: Infinity,
      tornLine: -1,
    };
    this.commands.push(command);
    this.units.push({ kind: 'fetch', line: command.firstLine, command });
    this.#current = command;
    this.#eventSeen = false;
    this.#takeDoorbells(command);
  }

  /** The tail that is rung is the place behind the command that was written last. */
  #takeDoorbells(command: LoggedCommand): void {
    if (command.index < 0) return;
    for (let at = this.#doorbells.length - 1; at >= 0; at -= 1) {
      const doorbell = this.#doorbells[at]!;
      if (doorbell.queue !== command.queue) continue;
      const ahead = (doorbell.tail - command.tail + QUEUE_ENTRIES) % QUEUE_ENTRIES;
      if (ahead !== 0 && ahead < QUEUE_ENTRIES / 2) continue;
      command.doorbells.push(doorbell);
      this.#doorbells.splice(at, 1);
    }
  }

  #doorbell(record: Extract<DeviceLogRecord, { event: 'doorbell' }>): void {
    const last = this.commands.findLast((command) => command.queue === record.queue);
    if (last !== undefined && last.index >= 0) {
      // The drive may have found the commands by itself before it was rung.
      const behind = (last.index + 1 - record.tail + QUEUE_ENTRIES) % QUEUE_ENTRIES;
      if (behind < QUEUE_ENTRIES / 2) {
        const index = (record.tail + QUEUE_ENTRIES - 1) % QUEUE_ENTRIES;
        const owner = this.commands.findLast((command) => command.queue === record.queue && command.index === index);
        (owner ?? last).doorbells.push(record);
        return;
      }
    }
    this.#doorbells.push(record);
  }

  #complete(record: Extract<DeviceLogRecord, { event: 'complete' }>): void {
    this.#current = null;
    const command = this.commands.findLast(
      (one) => one.commandId === record.commandId && one.completeLine === Infinity,
    );
    if (this.#post.length > 0) this.#torn = record.line;
    if (command === undefined) {
      this.commands.findLast((one) => one.commandId === record.commandId)?.records.push(record);
      return;
    }
    command.completeLine = record.line;
    command.records.push(record);
    this.units.push({ kind: 'complete', line: record.line, command });
    const waiting = this.#completed.get(command.queue);
    if (waiting === undefined) this.#completed.set(command.queue, [command]);
    else waiting.push(command);
  }

  /** Entries report completions in order. Without `index` the entry itself is missing. */
  #flushPost(index = -1): void {
    const records = this.#post;
    if (records.length === 0) return;
    this.#post = [];
    const queue = this.#postQueue;
    const waiting = this.#completed.get(queue) ?? [];
    const last = this.#posted.get(queue);
    if (index >= 0) {
      if (last !== undefined) {
        const missing = (index - last - 1 + QUEUE_ENTRIES) % QUEUE_ENTRIES;
        if (missing < MOST_MISSING) waiting.splice(0, Math.min(missing, waiting.length - 1));
      }
      this.#posted.set(queue, index);
    }
    const command = (index >= 0 ? waiting.shift() : waiting[0]) ?? this.#withoutCallback(queue);
    if (command === undefined) return;
    this.#sink = command.records;
    if (command.postLine === Infinity && index >= 0) {
      command.postLine = records.at(-1)?.line ?? command.line;
      this.units.push({ kind: 'post', line: records[0]?.line ?? command.line, command });
    }
    command.records.push(...records);
    if (this.#torn >= 0) command.tornLine = this.#torn;
    this.#torn = -1;
  }

  /** Commands other than reads and writes complete without a line; else it is one entry too many, of the command before. */
  #withoutCallback(queue: number): LoggedCommand | undefined {
    const open = this.commands.filter((one) => one.queue === queue && one.postLine === Infinity);
    return (
      open.find((one) => one.lba < 0) ??
      open[0] ??
      this.commands.findLast((one) => one.queue === queue && one.postLine !== Infinity)
    );
  }
}

export function deviceUnits(records: readonly DeviceLogRecord[], roles: DeviceRoles): DeviceUnits {
  const reader = new UnitReader(roles);
  for (const [index, record] of records.entries()) reader.read(record, records[index + 1]);
  reader.end();
  const units = reader.units.sort((a, b) => a.line - b.line);
  return { units, commands: reader.commands, lastLine: records.at(-1)?.line ?? 0, adminLines: reader.adminLines };
}
