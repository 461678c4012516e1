/**
 * Regions registered with an emulated adapter: one table for any mixture of memory, written by work requests, and every byte read and written
 * from another host (thread of March 2024: one memory region of a hodgepodge of page types).
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RdmaNic, type RdmaNicOptions } from '../../devices/rdmaNic/rdmaNic.ts';
import * as spec from '../../devices/rdmaNic/rdmaSpecification.ts';
import { DMA_BIDIRECTIONAL } from '../../dma/attributes.ts';
import type { DomainType } from '../../dma/device.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { Counters } from '../../metrics/counters.ts';
import { Fabric } from '../../pcie/fabric.ts';
import type { SchemeName } from '../../schemes/scheme.ts';
import { createScheme } from '../../schemes/schemes.ts';
import { EventQueue } from '../../time/eventQueue.ts';
import { nanoseconds } from '../../time/picoseconds.ts';
import { kernelProfile } from '../../dma/kernels/profiles.ts';
import { MemoryRegions } from './memoryRegions.ts';
import { MrCache } from './mrCache.ts';
import { NicRegionAdapter } from './nicRegionAdapter.ts';
import { resolveRdmaCosts } from './rdmaCosts.ts';
import { SwitchAndIommu } from './testRdmaHosts.ts';
import { patternOf, RegionMachine, type Kind } from './testRegions.ts';
import { IB_ACCESS_LOCAL_WRITE, IB_ACCESS_REMOTE_READ, IB_ACCESS_REMOTE_WRITE, isRefusal } from './umem.ts';

const PAGE = 4096;
const PD = 7;
const ALL = IB_ACCESS_LOCAL_WRITE | IB_ACCESS_REMOTE_READ | IB_ACCESS_REMOTE_WRITE;
const LINK = { generation: 4, lanes: 16, maxPayloadSize: 256, maxReadRequestSize: 512, propagation: nanoseconds(10) };
const COSTS = { rootComplex: nanoseconds(1), memoryRead: nanoseconds(50), mmioWrite: nanoseconds(1) };
const NIC: RdmaNicOptions = {
  mtu: 4096,
  picosecondsPerByte: 80,
  packetOverheadBytes: 60,
  packetInterval: nanoseconds(5),
  propagation: nanoseconds(500),
  notReadyDelay: nanoseconds(10_000),
  faultEvent: nanoseconds(1000),
  resume: nanoseconds(100),
  faultEvents: 4,
  tableCache: { sets: 4, ways: 2 },
};

/** Another host: plain memory, one key for all of it, and a queue pair to the adapter under test. */
class FarHost {
  readonly memory = new PhysicalMemory(2 ** 24);
  readonly nic: RdmaNic;
  readonly pair: number;
  private readonly events: EventQueue;
  private readonly key: number;
  private blocks = 0;
  private polled = 0;

  constructor(events: EventQueue) {
    this.events = events;
    const fabric = new Fabric({
      events,
      memory: this.memory,
      translator: null,
      costs: COSTS,
      counters: new Counters(),
    });
    this.nic = new RdmaNic(fabric.addRootPort(LINK).addFunction(0x20), events, NIC);
    const nobody = { handleEvent: () => undefined };
    const sendCompletions = this.nic.createCompletionQueue({
      address: 0x2000,
      entries: 64,
      interrupt: nobody,
      kind: 0,
    });
    this.pair = this.nic.createQueuePair({ pd: PD, sendQueue: 0x1000, sendBlocks: 16, sendCompletions });
    const all = { startAddress: 0, length: 2 ** 24, logPageSize: 0, table: 0, tableBytes: 0 };
    this.key = this.nic.createMkey({ ...all, accessMode: spec.MLX5_MKC_ACCESS_MODE_PA, permissions: 0xbc, pd: PD });
  }

  /** The syndrome of the completion; 0: it went well. */
  transfer(opcode: number, remote: number, remoteKey: number, local: number, bytes: number): number {
    const view = new DataView(new ArrayBuffer(64));
    view.setUint32(spec.CONTROL_OPCODE, opcode);
    view.setUint32(spec.CONTROL_QPN_DS, this.pair * 0x100 + 3);
    view.setUint8(spec.CONTROL_FLAGS, spec.MLX5_WQE_CTRL_CQ_UPDATE);
    spec.writeBe64(view, 16 + spec.REMOTE_ADDRESS, remote);
    view.setUint32(16 + spec.REMOTE_KEY, remoteKey);
    view.setUint32(32 + spec.DATA_BYTE_COUNT, bytes);
    view.setUint32(32 + spec.DATA_LKEY, this.key);
    spec.writeBe64(view, 32 + spec.DATA_ADDRESS, local);
    this.memory.writeBytes(0x1000 + (this.blocks % 16) * 64, new Uint8Array(view.buffer), 0, 64);
    this.blocks += 1;
    this.nic.ringDoorbell(this.pair, this.blocks, this.events.now);
    while (this.events.step());
    const entry = new Uint8Array(64);
    this.memory.readBytes(0x2000 + (this.polled % 64) * 64, entry, 0, 64);
    this.polled += 1;
    return entry[spec.CQE_OP_OWN]! >> 4 === spec.MLX5_CQE_REQ ? 0 : entry[spec.CQE_SYNDROME]!;
  }
}

/** By a queue pair of the adapter that only answers. */
function connect(nic: RdmaNic, far: FarHost): void {
  const nobody = { handleEvent: () => undefined };
  const sendCompletions = nic.createCompletionQueue({ address: 0, entries: 1, interrupt: nobody, kind: 0 });
  const pair = nic.createQueuePair({ pd: PD, sendQueue: 0, sendBlocks: 1, sendCompletions });
  nic.connect(pair, far.nic, far.pair);
  far.nic.connect(far.pair, nic, pair);
}

function setUp(kinds: readonly Kind[], domain: DomainType) {
  const events = new EventQueue();
  const machine = new RegionMachine({ domain, timers: events });
  const start = machine.mapPages(kinds);
  const { memory, counters, api, device, cpu } = machine;
  const translator = new SwitchAndIommu(machine);
  const fabric = new Fabric({ events, memory, translator, costs: COSTS, counters });
  const nic = new RdmaNic(fabric.addRootPort(LINK).addFunction(device.sourceId), events, NIC);
  const adapter = new NicRegionAdapter(cpu, { nic, api, device, memory, events, pd: PD });
  const costs = resolveRdmaCosts();
  const regions = new MemoryRegions({ adapter, cache: new MrCache(adapter, costs, 0), costs });
  const far = new FarHost(events);
  const another = (): FarHost => {
    const host = new FarHost(events);
    connect(nic, host);
    return host;
  };
  connect(nic, far);
  const request = (scheme: SchemeName, offset: number) => ({
    mm: machine.mm,
    address: start * PAGE + offset,
    length: kinds.length * PAGE - offset,
    access: ALL,
    scheme: createScheme(scheme, api, device, kernelProfile('7.2'), 'test'),
    peersPages: true,
  });
  return { machine, adapter, regions, far, another, request, start };
}

const SCHEMES = ['map_sg', 'map_phys', 'two_step', 'two_step_per_page', 'hybrid', 'iova_export'] as const;
const mixtures = fc.array(fc.constantFrom<Kind>('ram', 'near', 'far'), { minLength: 1, maxLength: 40 });
const LOCAL = 0x10_0000;

test('every byte of any mixture is read and written through one key of the adapter, under each scheme that can serve it', () => {
  let served = 0;
  const domains = fc.constantFrom<DomainType>('strict', 'lazy');
  fc.assert(
    fc.property(
      mixtures,
      fc.constantFrom(...SCHEMES),
      domains,
      fc.constantFrom(0, 1, 4095),
      (kinds, scheme, domain, offset) => {
        const { machine, adapter, regions, far, request, start } = setUp(kinds, domain);
        const { cpu, mm } = machine;
        const before = machine.held();
        const asked = request(scheme, offset);
        const region = regions.register(cpu, asked);
        if (isRefusal(region)) {
          expect(region.reason).not.toBe('');
          expect(machine.held()).toEqual(before);
          return;
        }
        served += 1;
        const { key, context } = region;
        const read = far.transfer(spec.MLX5_OPCODE_RDMA_READ, context.iova, key.key, LOCAL, asked.length);
        const found = new Uint8Array(asked.length);
        far.memory.readBytes(LOCAL, found, 0, found.length);
        expect([read, Buffer.compare(found, patternOf(offset, asked.length))]).toEqual([0, 0]);
        const fresh = patternOf(offset + 77_777, asked.length);
        far.memory.writeBytes(LOCAL, fresh, 0, fresh.length);
        expect(far.transfer(spec.MLX5_OPCODE_RDMA_WRITE, context.iova, key.key, LOCAL, asked.length)).toBe(0);
        regions.deregister(cpu, region);
        const kept = new Uint8Array(asked.length);
        mm.read(start * PAGE + offset, kept);
        expect(Buffer.compare(kept, fresh)).toBe(0);
        // nobody reaches it by its key any more
        expect(far.transfer(spec.MLX5_OPCODE_RDMA_READ, context.iova, key.key, LOCAL, 1)).toBe(
          spec.MLX5_CQE_SYNDROME_REMOTE_ACCESS_ERR,
        );
        adapter.release(cpu);
      },
    ),
    { seed: 17, numRuns: 40 },
  );
  expect(served).toBeGreaterThan(25);
});

test('a key is of no use before its table is whole, and allows no more than was asked', () => {
  const { machine, regions, far, request } = setUp(['ram', 'near', 'ram'], 'strict');
  const region = regions.register(machine.cpu, { ...request('two_step', 0), access: IB_ACCESS_REMOTE_READ });
  if (isRefusal(region)) throw new Error(region.reason);
  const { key, context } = region;
  expect(far.transfer(spec.MLX5_OPCODE_RDMA_READ, context.iova, key.key, LOCAL, 3 * PAGE)).toBe(0);
  expect(far.transfer(spec.MLX5_OPCODE_RDMA_WRITE, context.iova, key.key, LOCAL, 8)).toBe(
    spec.MLX5_CQE_SYNDROME_REMOTE_ACCESS_ERR,
  );
});

test('a table that is written in parts holds each part where it belongs', () => {
  const { machine, adapter, far, another } = setUp(['ram'], 'strict');
  const { cpu, api, device, frames, memory } = machine;
  const addresses = [1, 2].map((mark) => {
    const phys = frames.allocatePage() * PAGE;
    memory.writeBytes(phys, new Uint8Array(PAGE).fill(mark), 0, PAGE);
    return api.dmaMapPhys(cpu, device, phys, PAGE, DMA_BIDIRECTIONAL, 0);
  });
  const key = adapter.createKey(cpu, 16);
  addresses.forEach((address, part) => {
    const bytes = new Uint8Array(64);
    for (let entry = 0; entry < 8; entry += 1) spec.writeBe64(new DataView(bytes.buffer), entry * 8, address + 3);
    expect(adapter.writeTable(cpu, key, part * 8, bytes, 64)).toBe(0);
  });
  const context = { iova: 0, length: 16 * PAGE, pageSize: PAGE, access: ALL };
  expect(far.transfer(spec.MLX5_OPCODE_RDMA_READ, 0, key, LOCAL, 1)).toBe(spec.MLX5_CQE_SYNDROME_REMOTE_ACCESS_ERR);
  expect(adapter.setKey(cpu, key, context)).toBe(0);
  // the queue pair that was refused is in error
  const other = another();
  expect(other.transfer(spec.MLX5_OPCODE_RDMA_READ, 0, key, LOCAL, 16 * PAGE)).toBe(0);
  const found = new Uint8Array(16 * PAGE);
  other.memory.readBytes(LOCAL, found, 0, found.length);
  expect([7, 8].map((page) => found[page * PAGE])).toEqual([1, 2]);
});
