/**
 * What an emulated drive and an emulated VT-d IOMMU print while a real kernel drives them (QEMU's trace events of
 * hw/nvme/trace-events and hw/i386/trace-events), as plain records with their line numbers: doorbells, commands, how the
 * drive took a data pointer apart, every translation with its IOTLB hit or fill, and the invalidation descriptors.
 * The lines carry no time; their order is that of the device. Events that are not read here are passed over.
 * Input may be hostile: lengths are bounded, and a line that is cut short ends in a sentence that names file and line.
 */
import { LabError } from '../time/labError.ts';

export interface DeviceLookup {
  readonly event: 'lookup';
  readonly line: number;
  /** From the IOTLB; else the page walk brought the entry in. */
  readonly hit: boolean;
  readonly sourceId: number;
  readonly iova: number;
  /** The page-table entry, hexadecimal, as it was printed: it may hold more bits than a number. */
  readonly entry: string;
  readonly domainId: number;
}

/** Follows each lookup: what the device got for it. */
export interface DeviceTranslation {
  readonly event: 'translation';
  readonly line: number;
  readonly sourceId: number;
  readonly iova: number;
  readonly address: number;
  readonly mask: number;
}

export interface DeviceInvalidation {
  readonly event: 'invalidation';
  readonly line: number;
  readonly granularity: 'page' | 'domain' | 'global';
  readonly domainId: number;
  readonly address: number;
  readonly mask: number;
}

export type DeviceLogRecord =
  | DeviceLookup
  | DeviceTranslation
  | DeviceInvalidation
  | { readonly event: 'wait'; readonly line: number; readonly address: number; readonly data: number }
  | { readonly event: 'doorbell'; readonly line: number; readonly queue: number; readonly tail: number }
  | {
      readonly event: 'command';
      readonly line: number;
      readonly commandId: number;
      readonly namespace: number;
      readonly queue: number;
      readonly opcode: number;
    }
  | {
      readonly event: 'transfer';
      readonly line: number;
      readonly commandId: number;
      readonly namespace: number;
      readonly write: boolean;
      readonly blocks: number;
      readonly bytes: number;
      readonly lba: number;
    }
  | {
      readonly event: 'prp';
      readonly line: number;
      readonly first: number;
      readonly length: number;
      readonly prp1: number;
      readonly prp2: number;
      readonly entries: number;
    }
  | { readonly event: 'sgl'; readonly line: number; readonly type: number; readonly length: number }
  | { readonly event: 'address'; readonly line: number; readonly address: number; readonly length: number }
  | { readonly event: 'complete'; readonly line: number; readonly commandId: number };

const LONGEST_LINE = 1024;
const NAME = /^[a-z][a-z0-9_]*(?= |$)/;
const HINT = 'Copy device.log again; if it was cut off, cut it at the end of a line.';

type Reader = readonly [pattern: RegExp, make: (line: number, fields: readonly string[]) => DeviceLogRecord];

/** `0x...` as tracepoints print it. */
function hex(text = ''): number {
  return Number.parseInt(text, 16);
}

function lookup(hit: boolean): (line: number, fields: readonly string[]) => DeviceLogRecord {
  return (line, [sid, iova, entry = '', domain]) => ({
    event: 'lookup',
    line,
    hit,
    sourceId: hex(sid),
    iova: hex(iova),
    entry: entry.replace(/^0+(?=.)/, ''),
    domainId: hex(domain),
  });
}

function transfer(write: boolean): (line: number, fields: readonly string[]) => DeviceLogRecord {
  return (line, [cid, namespace, blocks, bytes, lba]) => ({
    event: 'transfer',
    line,
    commandId: Number(cid),
    namespace: Number(namespace),
    write,
    blocks: Number(blocks),
    bytes: Number(bytes),
    lba: hex(lba),
  });
}

const H = '0x([0-9a-f]{1,16})';
const D = '(\\d{1,12})';
const LOOKUP = new RegExp(`^ IOTLB page (?:hit|update) sid ${H} iova ${H} (?:slpte|pte) ${H} domain ${H}$`);

const READERS = new Map<string, Reader>([
  ['vtd_iotlb_page_hit', [LOOKUP, lookup(true)]],
  ['vtd_iotlb_page_update', [LOOKUP, lookup(false)]],
  [
    'vtd_dmar_translate',
    [
      new RegExp(`^ dev ([0-9a-f]{2}):([0-9a-f]{2})\\.([0-9a-f]{2}) iova ${H} -> gpa ${H} mask ${H}$`),
      (line, [bus, slot, fn, iova, address, mask]) => ({
        event: 'translation',
        line,
        sourceId: hex(bus) * 256 + hex(slot) * 8 + hex(fn),
        iova: hex(iova),
        address: hex(address),
        mask: hex(mask),
      }),
    ],
  ],
  [
    'vtd_inv_desc_iotlb_pages',
    [
      new RegExp(`^ iotlb invalidate domain ${H} addr ${H} mask ${H}$`),
      (line, [domain, address, mask]) => ({
        event: 'invalidation',
        line,
        granularity: 'page',
        domainId: hex(domain),
        address: hex(address),
        mask: hex(mask),
      }),
    ],
  ],
  [
    'vtd_inv_desc_iotlb_domain',
    [
      new RegExp(`^ iotlb invalidate whole domain ${H}$`),
      (line, [domain]) => ({
        event: 'invalidation',
        line,
        granularity: 'domain',
        domainId: hex(domain),
        address: 0,
        mask: 0,
      }),
    ],
  ],
  [
    'vtd_inv_desc_iotlb_global',
    [
      /^ iotlb invalidate global$/,
      (line) => ({ event: 'invalidation', line, granularity: 'global', domainId: -1, address: 0, mask: 0 }),
    ],
  ],
  [
    'vtd_inv_desc_wait_sw',
    [
      new RegExp(`^ wait invalidate status write addr ${H} data ${H}$`),
      (line, [address, data]) => ({ event: 'wait', line, address: hex(address), data: hex(data) }),
    ],
  ],
  [
    'pci_nvme_mmio_doorbell_sq',
    [
      new RegExp(`^ sqid ${D} new_tail ${D}$`),
      (line, [queue, tail]) => ({ event: 'doorbell', line, queue: Number(queue), tail: Number(tail) }),
    ],
  ],
  [
    'pci_nvme_io_cmd',
    [
      new RegExp(`^ cid ${D} nsid ${H} sqid ${D} opc ${H}(?: opname '.{0,64}')?$`),
      (line, [cid, namespace, queue, opcode]) => ({
        event: 'command',
        line,
        commandId: Number(cid),
        namespace: hex(namespace),
        queue: Number(queue),
        opcode: hex(opcode),
      }),
    ],
  ],
  ['pci_nvme_read', [new RegExp(`^ cid ${D} nsid ${D} nlb ${D} count ${D} lba ${H}$`), transfer(false)]],
  [
    'pci_nvme_write',
    [new RegExp(`^ cid ${D}(?: opname '.{0,64}')? nsid ${D} nlb ${D} count ${D} lba ${H}$`), transfer(true)],
  ],
  [
    'pci_nvme_map_prp',
    [
      new RegExp(`^ trans_len ${D} len ${D} prp1 ${H} prp2 ${H} num_prps ${D}$`),
      (line, [first, length, prp1, prp2, entries]) => ({
        event: 'prp',
        line,
        first: Number(first),
        length: Number(length),
        prp1: hex(prp1),
        prp2: hex(prp2),
        entries: Number(entries),
      }),
    ],
  ],
  [
    'pci_nvme_map_sgl',
    [
      new RegExp(`^ type ${H} len ${D}$`),
      (line, [type, length]) => ({ event: 'sgl', line, type: hex(type), length: Number(length) }),
    ],
  ],
  [
    'pci_nvme_map_addr',
    [
      new RegExp(`^ addr ${H} len ${D}$`),
      (line, [address, length]) => ({ event: 'address', line, address: hex(address), length: Number(length) }),
    ],
  ],
  [
    'pci_nvme_rw_complete_cb',
    [new RegExp(`^ cid ${D} blk '.{0,64}'$`), (line, [cid]) => ({ event: 'complete', line, commandId: Number(cid) })],
  ],
]);

/** The records of one log, in the order of the file. `name` is what error messages call it. */
export function readDeviceLog(name: string, text: string): DeviceLogRecord[] {
  const records: DeviceLogRecord[] = [];
  let line = 0;
  let start = 0;
  while (start < text.length) {
    const newline = text.indexOf('\n', start);
    const end = newline < 0 ? text.length : newline;
    line += 1;
    if (end - start > LONGEST_LINE) {
      throw new LabError(`${name}:${line}`, `the line is longer than ${LONGEST_LINE} characters.`, HINT);
    }
    const content = text.slice(start, end).trimEnd();
    start = end + 1;
    if (content === '') continue;
    const event = NAME.exec(content)?.[0];
    if (event === undefined) throw new LabError(`${name}:${line}`, 'this is not a line of a device log.', HINT);
    const reader = READERS.get(event);
    if (reader === undefined) continue;
    const fields = reader[0].exec(content.slice(event.length));
    if (fields === null) {
      throw new LabError(`${name}:${line}`, `the event ${event} is cut short or not as it is printed.`, HINT);
    }
    records.push(reader[1](line, fields.slice(1)));
  }
  return records;
}
