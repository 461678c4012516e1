/** Messages between two adapters by keys of every mode, faults of both sides, refusals (InfiniBand Architecture Specification 9.4, 9.7). */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { Counters } from '../../metrics/counters.ts';
import { Fabric } from '../../pcie/fabric.ts';
import type { Translator } from '../../pcie/translator.ts';
import { EventQueue } from '../../time/eventQueue.ts';
import { nanoseconds, picoseconds, type Picoseconds } from '../../time/picoseconds.ts';
import type { MemoryKeyOptions } from './memoryKeys.ts';
import { NULL_MKEY } from './memoryKeys.ts';
import type { RdmaFault } from './faultEvents.ts';
import { RdmaNic } from './rdmaNic.ts';
import * as spec from './rdmaSpecification.ts';

const LINK = { generation: 4, lanes: 16, maxPayloadSize: 256, maxReadRequestSize: 512, propagation: nanoseconds(10) };
const OPTIONS = {
  mtu: 1024,
  picosecondsPerByte: 80,
  packetOverheadBytes: 60,
  packetInterval: nanoseconds(5),
  propagation: nanoseconds(500),
  notReadyDelay: nanoseconds(10_000),
  faultEvent: nanoseconds(1000),
  resume: nanoseconds(100),
  faultEvents: 4,
  tableCache: { sets: 2, ways: 2 },
};
const ALL = 0xbc;
const SEND_QUEUE = 0x1000;
const COMPLETIONS = 0x2000;
const TABLES = 0x4000;
const DATA = 0x10_0000;
const VA = 0x7000_0123;

/** Bus addresses are physical ones, up to where nothing is mapped. */
class UpToAnEnd implements Translator {
  physPage = 0;
  readyAt: Picoseconds = picoseconds(0);

  translate(_sourceId: number, page: number, _write: boolean, _accesses: number, at: Picoseconds): boolean {
    this.physPage = page;
    this.readyAt = at;
    return page < 0x300;
  }
}

class Host {
  readonly memory = new PhysicalMemory(2 ** 22);
  readonly nic: RdmaNic;
  readonly view = new DataView(new ArrayBuffer(64));
  interrupts = 0;
  blocks = 0;
  qpn = 0;

  constructor(events: EventQueue) {
    const costs = { rootComplex: nanoseconds(1), memoryRead: nanoseconds(50), mmioWrite: nanoseconds(1) };
    const { memory } = this;
    const fabric = new Fabric({ events, memory, translator: new UpToAnEnd(), costs, counters: new Counters() });
    this.nic = new RdmaNic(fabric.addRootPort(LINK).addFunction(0x20), events, OPTIONS);
    const sendCompletions = this.nic.createCompletionQueue({
      address: COMPLETIONS,
      entries: 64,
      interrupt: this,
      kind: 0,
    });
    this.qpn = this.nic.createQueuePair({ pd: 1, sendQueue: SEND_QUEUE, sendBlocks: 8, sendCompletions });
    memory.writeBytes(COMPLETIONS, new Uint8Array(64 * 64).fill(0xff), 0, 64 * 64);
  }

  handleEvent(): void {
    this.interrupts += 1;
  }

  put(address: number, write: (view: DataView) => void, length: number): void {
    const view = new DataView(new ArrayBuffer(length));
    write(view);
    this.memory.writeBytes(address, new Uint8Array(view.buffer), 0, length);
  }

  bytes(address: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.memory.readBytes(address, bytes, 0, length);
    return bytes;
  }

  key(more: Partial<MemoryKeyOptions> & Pick<MemoryKeyOptions, 'accessMode'>): number {
    const usual = { permissions: ALL, pd: 1, startAddress: VA, length: 0x8000, logPageSize: 12, table: TABLES };
    return this.nic.createMkey({ ...usual, tableBytes: 1024, ...more });
  }

  mtt(table: number, pages: readonly number[]): void {
    pages.forEach((page, index) => {
      this.put(
        table + index * 8,
        (view) => {
          spec.writeBe64(view, 0, page);
        },
        8,
      );
    });
  }

  piece(at: number, bytes: number, key: number, address: number): void {
    this.put(
      at,
      (view) => {
        view.setUint32(spec.DATA_BYTE_COUNT, bytes);
        view.setUint32(spec.DATA_LKEY, key);
        spec.writeBe64(view, spec.DATA_ADDRESS, address);
      },
      16,
    );
  }

  post(opcode: number, local: readonly [number, number, number][], remote: readonly [number, number]): void {
    const place = SEND_QUEUE + (this.blocks % 8) * 64;
    this.put(
      place,
      (view) => {
        view.setUint32(0, (this.blocks << 8) | opcode);
        view.setUint32(4, (this.qpn << 8) | (2 + local.length));
        view.setUint8(11, spec.MLX5_WQE_CTRL_CQ_UPDATE);
        spec.writeBe64(view, 16, remote[1]);
        view.setUint32(24, remote[0]);
        local.forEach(([key, address, length], index) => {
          view.setUint32(32 + index * 16, length);
          view.setUint32(36 + index * 16, key);
          spec.writeBe64(view, 40 + index * 16, address);
        });
      },
      64,
    );
    this.blocks += 1;
  }

  ring(at: Picoseconds): void {
    this.nic.ringDoorbell(this.qpn, this.blocks, at);
  }

  /** Syndrome of each completion; 0: none went wrong. */
  completed(): number[] {
    const found: number[] = [];
    for (let index = 0; index < 64; index += 1) {
      const entry = this.bytes(COMPLETIONS + index * 64, 64);
      if (entry[63] === 0xff) break;
      found.push(entry[63]! >> 4 === spec.MLX5_CQE_REQ ? 0 : entry[55]!);
    }
    return found;
  }
}

class Pair {
  readonly events = new EventQueue();
  readonly near = new Host(this.events);
  readonly far = new Host(this.events);

  constructor() {
    this.near.nic.connect(this.near.qpn, this.far.nic, this.far.qpn);
    this.far.nic.connect(this.far.qpn, this.near.nic, this.near.qpn);
  }

  run(): void {
    this.near.ring(this.events.now);
    while (this.events.step());
  }
}

const pattern = (length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, index) => (index * 7 + (index >> 8)) % 251);

/** A key of 8 scattered pages from VA on, of some mode; and where its byte `offset` lies. */
function scattered(
  host: Host,
  mode: number,
  order: readonly number[],
): { key: number; at: (offset: number) => number } {
  const pages = order.map((page) => DATA + page * 0x2000);
  const inPage = VA % 4096;
  const at = (offset: number): number => pages[Math.floor((offset + inPage) / 4096)]! + ((offset + inPage) % 4096);
  host.mtt(
    TABLES,
    pages.map((page) => page + spec.MTT_READ + spec.MTT_WRITE),
  );
  const base = VA - inPage;
  const leaf = host.key({ accessMode: spec.MLX5_MKC_ACCESS_MODE_MTT, startAddress: base, length: 0x8000 });
  const above = { accessMode: mode, startAddress: base, length: 0x8000, table: TABLES + 0x800 };
  if (mode === spec.MLX5_MKC_ACCESS_MODE_MTT) return { key: leaf, at };
  if (mode === spec.MLX5_MKC_ACCESS_MODE_KSM) {
    for (let piece = 0; piece < 4; piece += 1) host.piece(above.table + piece * 16, 0, leaf, base + piece * 0x2000);
    return { key: host.key({ ...above, logPageSize: 13, tableBytes: 64 }), at };
  }
  const sizes = [0x123, 0x1edd, 0x1, 0x3fff, 0x777, 0x1889];
  let from = 0;
  sizes.forEach((size, index) => {
    host.piece(above.table + index * 16, size, leaf, base + from);
    from += size;
  });
  return { key: host.key({ ...above, length: from, tableBytes: sizes.length * 16 }), at };
}

const MODES = [spec.MLX5_MKC_ACCESS_MODE_MTT, spec.MLX5_MKC_ACCESS_MODE_KLMS, spec.MLX5_MKC_ACCESS_MODE_KSM];

describe('two RDMA adapters', () => {
  it('bring every byte to its page, whatever the keys are made of', () => {
    const order = fc.shuffledSubarray([0, 1, 2, 3, 4, 5, 6, 7], { minLength: 8, maxLength: 8 });
    const mode = fc.constantFrom(...MODES);
    const stretch = fc.tuple(fc.nat(0x3000), fc.nat(0x3000), fc.integer({ min: 1, max: 0x3000 }));
    fc.assert(
      fc.property(
        order,
        order,
        mode,
        mode,
        stretch,
        fc.boolean(),
        (nearOrder, farOrder, nearMode, farMode, [from, to, length], read) => {
          const pair = new Pair();
          const near = scattered(pair.near, nearMode, nearOrder);
          const far = scattered(pair.far, farMode, farOrder);
          const [source, target] = read ? [pair.far, pair.near] : [pair.near, pair.far];
          const [sourceAt, targetAt] = read ? [far.at, near.at] : [near.at, far.at];
          const [sourceFrom, targetFrom] = read ? [to, from] : [from, to];
          const bytes = pattern(length);
          bytes.forEach((_, index) => {
            source.memory.writeBytes(sourceAt(sourceFrom + index), bytes, index, 1);
          });
          const opcode = read ? spec.MLX5_OPCODE_RDMA_READ : spec.MLX5_OPCODE_RDMA_WRITE;
          pair.near.post(opcode, [[near.key, VA + from, length]], [far.key, VA + to]);
          pair.run();
          expect(pair.near.completed()).toEqual([0]);
          expect(pair.near.interrupts).toBe(1);
          const moved = Uint8Array.from(bytes, (_, index) => target.bytes(targetAt(targetFrom + index), 1)[0]!);
          expect(moved).toEqual(bytes);
        },
      ),
      { numRuns: 60, seed: 5 },
    );
  });

  it.each([
    ['a local key that is none', 0x4200, null, VA, 64, spec.MLX5_CQE_SYNDROME_LOCAL_PROT_ERR],
    ['a remote key that is none', null, 0x4200, VA, 64, spec.MLX5_CQE_SYNDROME_REMOTE_ACCESS_ERR],
    ['bytes behind the end of a remote key', null, null, VA + 0x7000, 0x1000, spec.MLX5_CQE_SYNDROME_REMOTE_ACCESS_ERR],
  ])('end a request in error for %s, and flush the next', (_, localKey, remoteKey, remote, length, syndrome) => {
    const pair = new Pair();
    const near = scattered(pair.near, spec.MLX5_MKC_ACCESS_MODE_MTT, [0, 1, 2, 3, 4, 5, 6, 7]);
    const far = scattered(pair.far, spec.MLX5_MKC_ACCESS_MODE_MTT, [0, 1, 2, 3, 4, 5, 6, 7]);
    for (let request = 0; request < 2; request += 1) {
      pair.near.post(spec.MLX5_OPCODE_RDMA_WRITE, [[localKey ?? near.key, VA, length]], [remoteKey ?? far.key, remote]);
    }
    pair.run();
    expect(pair.near.completed()).toEqual([syndrome, spec.MLX5_CQE_SYNDROME_WR_FLUSH_ERR]);
  });

  it.each([
    ['local', spec.MLX5_CQE_SYNDROME_LOCAL_ACCESS_ERR],
    ['remote', spec.MLX5_CQE_SYNDROME_REMOTE_ACCESS_ERR],
  ])('say so when a %s access is refused on its way to memory', (side, syndrome) => {
    const pair = new Pair();
    const near = scattered(pair.near, spec.MLX5_MKC_ACCESS_MODE_MTT, [0, 1, 2, 3, 4, 5, 6, 7]);
    const far = scattered(pair.far, spec.MLX5_MKC_ACCESS_MODE_MTT, [0, 1, 2, 3, 4, 5, 6, 7]);
    (side === 'local' ? pair.near : pair.far).mtt(TABLES, [0x30_0000 + spec.MTT_READ + spec.MTT_WRITE]);
    pair.near.post(spec.MLX5_OPCODE_RDMA_WRITE, [[near.key, VA, 64]], [far.key, VA]);
    pair.run();
    expect(pair.near.completed()).toEqual([syndrome]);
  });

  it.each([
    ['WQE', spec.MLX5_OPCODE_RDMA_WRITE, false],
    ['RDMA', spec.MLX5_OPCODE_RDMA_WRITE, true],
    ['WQE', spec.MLX5_OPCODE_RDMA_READ, true],
    ['RDMA', spec.MLX5_OPCODE_RDMA_READ, false],
  ])('stop for a missing page (%s, opcode %i), and go on when it is there', (kind, opcode, write) => {
    const pair = new Pair();
    const near = scattered(pair.near, spec.MLX5_MKC_ACCESS_MODE_MTT, [0, 1, 2, 3, 4, 5, 6, 7]);
    const far = scattered(pair.far, spec.MLX5_MKC_ACCESS_MODE_MTT, [0, 1, 2, 3, 4, 5, 6, 7]);
    const host = kind === 'WQE' ? pair.near : pair.far;
    const table = TABLES + 0x400;
    const key = host.key({ accessMode: 1, startAddress: VA - 0x123, table, tableBytes: 64, onDemand: true });
    const bytes = pattern(0x3000);
    const [source, target] = opcode === spec.MLX5_OPCODE_RDMA_READ ? [pair.far, pair.near] : [pair.near, pair.far];
    const places = Array.from(bytes, (_, index) => near.at(index));
    places.forEach((place, index) => {
      source.memory.writeBytes(place, bytes, index, 1);
    });
    const faults: RdmaFault[] = [];
    host.nic.onFault = (fault) => {
      faults.push(fault);
      const page = Math.floor(fault.va / 4096) - Math.floor(VA / 4096);
      host.mtt(table + page * 8, [near.at(Math.max(0, page * 4096 - 0x123)) - (page === 0 ? 0x123 : 0) + 3]);
      host.nic.cache.invalidate(table, 64);
      host.nic.resume(fault.token, false, pair.events.now);
    };
    pair.near.post(
      opcode,
      [[host === pair.near ? key : near.key, VA, 0x3000]],
      [host === pair.far ? key : far.key, VA],
    );
    pair.run();
    expect(pair.near.completed()).toEqual([0]);
    expect(Uint8Array.from(places, (place) => target.bytes(place, 1)[0]!)).toEqual(bytes);
    expect(faults.map((fault) => [fault.kind, fault.mkey, fault.write])).toEqual(Array(4).fill([kind, key, write]));
  });

  it('end a request that the driver cannot serve', () => {
    const pair = new Pair();
    const far = scattered(pair.far, spec.MLX5_MKC_ACCESS_MODE_MTT, [0, 1, 2, 3, 4, 5, 6, 7]);
    const table = TABLES + 0x400;
    pair.near.piece(table, 0, NULL_MKEY, 0);
    const key = pair.near.key({ accessMode: spec.MLX5_MKC_ACCESS_MODE_KSM, table, tableBytes: 64, logPageSize: 30 });
    pair.near.nic.onFault = (fault) => {
      pair.near.nic.resume(fault.token, true, pair.events.now);
    };
    pair.near.post(spec.MLX5_OPCODE_RDMA_WRITE, [[key, VA, 64]], [far.key, VA]);
    pair.run();
    expect(pair.near.completed()).toEqual([spec.MLX5_CQE_SYNDROME_LOCAL_PROT_ERR]);
  });

  it('use a cached entry until a UMR work request has written it anew', () => {
    const pair = new Pair();
    const near = scattered(pair.near, spec.MLX5_MKC_ACCESS_MODE_MTT, [0, 1, 2, 3, 4, 5, 6, 7]);
    const far = scattered(pair.far, spec.MLX5_MKC_ACCESS_MODE_MTT, [0, 1, 2, 3, 4, 5, 6, 7]);
    const write = (): void => {
      pair.near.post(spec.MLX5_OPCODE_RDMA_WRITE, [[near.key, VA, 4]], [far.key, VA]);
      pair.run();
    };
    const firstByte = (): number => pair.far.bytes(far.at(0), 1)[0]!;
    pair.near.memory.writeBytes(DATA + 0x123, Uint8Array.of(1), 0, 1);
    pair.near.memory.writeBytes(DATA + 0x2_0123, Uint8Array.of(2), 0, 1);
    write();
    pair.near.mtt(TABLES, [DATA + 0x2_0000 + spec.MTT_READ]);
    write();
    expect(firstByte()).toBe(1);
    // control, UMR control, context, and eight entries inline
    pair.near.put(
      SEND_QUEUE + pair.near.blocks * 64,
      (view) => {
        view.setUint32(0, spec.MLX5_OPCODE_UMR);
        view.setUint32(4, 12);
        view.setUint8(11, spec.MLX5_WQE_CTRL_CQ_UPDATE);
        view.setUint32(12, near.key);
        view.setUint8(16, spec.MLX5_UMR_INLINE);
        view.setUint16(20, 4);
        for (let entry = 0; entry < 8; entry += 1)
          spec.writeBe64(view, 128 + entry * 8, DATA + 0x2_0000 + spec.MTT_READ);
      },
      256,
    );
    pair.near.blocks += 4;
    write();
    expect(pair.near.completed()).toEqual([0, 0, 0, 0]);
    expect(firstByte()).toBe(2);
  });

  it('share a wire evenly between two queue pairs', () => {
    const pair = new Pair();
    const near = scattered(pair.near, spec.MLX5_MKC_ACCESS_MODE_MTT, [0, 1, 2, 3, 4, 5, 6, 7]);
    const far = scattered(pair.far, spec.MLX5_MKC_ACCESS_MODE_MTT, [0, 1, 2, 3, 4, 5, 6, 7]);
    const place = 0x3000;
    const options = { pd: 1, sendQueue: place, sendBlocks: 8, sendCompletions: 0 };
    const [first, second] = [pair.near.nic.createQueuePair(options), pair.far.nic.createQueuePair(options)];
    pair.near.nic.connect(first, pair.far.nic, second);
    pair.far.nic.connect(second, pair.near.nic, first);
    pair.near.post(spec.MLX5_OPCODE_RDMA_WRITE, [[near.key, VA, 0x6000]], [far.key, VA]);
    pair.near.memory.writeBytes(place, pair.near.bytes(SEND_QUEUE, 64), 0, 64);
    pair.near.nic.ringDoorbell(first, 1, pair.events.now);
    pair.run();
    const ends = [0, 1].map((index) =>
      spec.readBe64(new DataView(pair.near.bytes(COMPLETIONS + index * 64, 64).buffer), spec.CQE_TIMESTAMP),
    );
    expect(pair.near.completed()).toEqual([0, 0]);
    // each would alone have ended in about half of the time
    expect(ends[1]! - ends[0]!).toBeLessThan(0.1 * ends[1]!);
  });
});
