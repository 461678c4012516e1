/**
 * Lines of a device log that contradict earlier lines of it. The past of the recorded machine is an input, but it binds what
 * comes after: a hit shows the entry that was filled in, the page behind a queue stays the same, and the status of a wait
 * descriptor is written to the slot of the descriptor's place in the ring (Linux drivers/iommu/intel/dmar.c `qi_submit_sync`:
 * four bytes for each descriptor, 256 of them).
 * Leaves out: contradictions between log and trace.
 */
import type { DeviceLogRecord, DeviceLookup } from '../formats/deviceLog.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import type { DeviceRoles } from './deviceRoles.ts';

const STATUS_BYTES = 4;
const RING_STATUS_BYTES = 256 * STATUS_BYTES;
const QI_DONE = 2;

class OddityFinder {
  readonly found = new Map<DeviceLogRecord, string>();
  readonly #roles: DeviceRoles;
  readonly #filled = new Map<number, string>();
  #namespace = -1;
  #status = -1;
  #descriptors = 0;

  constructor(roles: DeviceRoles) {
    this.#roles = roles;
  }

  read(record: DeviceLogRecord): void {
    switch (record.event) {
      case 'lookup':
        this.#lookup(record);
        return;
      case 'command':
        this.#namespace = record.namespace;
        return;
      case 'transfer':
        if (record.namespace !== this.#namespace) this.found.set(record, `of namespace ${record.namespace}`);
        return;
      case 'invalidation':
        this.#descriptors += 1;
        return;
      case 'wait':
        this.#wait(record);
        return;
      default:
        return;
    }
  }

  #lookup(record: DeviceLookup): void {
    if (record.sourceId !== this.#roles.sourceId) return;
    const page = Math.floor(record.iova / PAGE_SIZE);
    const before = this.#filled.get(page);
    const lasting = record.hit || this.#roles.placeOf(record.iova) !== null;
    if (before !== undefined && lasting && before !== record.entry) {
      this.found.set(record, `entry 0x${record.entry} in place of 0x${before}`);
    } else this.#filled.set(page, record.entry);
  }

  #wait(record: Extract<DeviceLogRecord, { event: 'wait' }>): void {
    // Descriptors of other kinds are not in the log; each of them is sent by itself.
    const advance = (Math.max(1, this.#descriptors) + 1) * STATUS_BYTES;
    const base = record.address - (record.address % RING_STATUS_BYTES);
    const slot = record.address - base;
    const expected = this.#status < 0 ? record.address : base + ((this.#status + advance) % RING_STATUS_BYTES);
    this.#descriptors = 0;
    this.#status = slot;
    if (record.data !== QI_DONE) this.found.set(record, `writes ${record.data}`);
    else if (expected !== record.address) {
      this.found.set(record, `writes to 0x${record.address.toString(16)}, not 0x${expected.toString(16)}`);
    }
  }
}

export function deviceOddities(
  records: readonly DeviceLogRecord[],
  roles: DeviceRoles,
): ReadonlyMap<DeviceLogRecord, string> {
  const finder = new OddityFinder(roles);
  for (const record of records) finder.read(record);
  return finder.found;
}
