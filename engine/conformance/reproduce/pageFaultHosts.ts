/**
 * The machines on which page faults of devices were measured, put together from the emulator's own parts and
 * fixtures/presets/hardware/page-faults.json: an adapter with on-demand paging, a device that asks with page requests, and a device
 * whose transactions stall in an SMMU. Every message moves real bytes, which are compared with what the process has.
 */
import preset from '../../../fixtures/presets/hardware/page-faults.json' with { type: 'json' };
import { FaultingDma } from '../../devices/faultingDma.ts';
import { NicPageFaults } from '../../devices/nicPageFaults.ts';
import { DeviceDomains } from '../../dma/attachDomain.ts';
import { createDmaDevice } from '../../dma/device.ts';
import { DmaApi } from '../../dma/dmaApi.ts';
import { PageRequestSource, StallSource } from '../../dma/faultSources.ts';
import { IommuDomain } from '../../dma/iommuDomain.ts';
import { IoPageFaultHandler, type IoPageFaultSource } from '../../dma/ioPageFaults.ts';
import { kernelProfile, type KernelProfileName } from '../../dma/kernels/profiles.ts';
import { ProcessMirror } from '../../dma/processMirror.ts';
import { OdpDriver } from '../../drivers/rdma/odpDriver.ts';
import type { IommuVendor } from '../../iommu/architectures.ts';
import { AtsFaultPath } from '../../iommu/ats/atsFaultPath.ts';
import { DeviceTlb } from '../../iommu/ats/deviceTlb.ts';
import { PageRequestQueue } from '../../iommu/ats/pageRequestQueue.ts';
import { answerOfFaultReason, TranslationAgent } from '../../iommu/ats/translationAgent.ts';
import { Iommu } from '../../iommu/iommu.ts';
import { SmmuEventQueue } from '../../iommu/smmu/smmuEvents.ts';
import { StallFaultPath } from '../../iommu/smmu/stallFaultPath.ts';
import { StalledTransactions } from '../../iommu/smmu/stalledTransactions.ts';
import { resolveCosts } from '../../lab/presets.ts';
import { PAGE_SIZE } from '../../memory/addresses.ts';
import { AddressSpace } from '../../memory/addressSpace.ts';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { UserPages } from '../../memory/userPages.ts';
import { Counters } from '../../metrics/counters.ts';
import type { DmaPort } from '../../pcie/dmaPort.ts';
import { Fabric, type FabricPort } from '../../pcie/fabric.ts';
import type { PageFaultPath } from '../../pcie/pageFaultPath.ts';
import { PageRequestInterface } from '../../pcie/pageRequestInterface.ts';
import { NO_PASID } from '../../pcie/translator.ts';
import { Cpu } from '../../time/cpu.ts';
import { EventQueue } from '../../time/eventQueue.ts';
import { nanoseconds, PICOSECONDS_PER_MICROSECOND, type Picoseconds } from '../../time/picoseconds.ts';

const { parameters } = preset;
const SOURCE_ID = 0x0300;
const MEMORY_BYTES = 2 ** 32;
const PROFILE: KernelProfileName = '7.3';
const NANOSECONDS_PER_MICROSECOND = 1000;

/** What the host takes for a stalled fault, microseconds. */
const STALLED_HOST =
  parameters.faultInterrupt.value +
  parameters.faultWorker.value +
  parameters.faultHandler.value +
  parameters.faultRespond.value;

export const MOST_PAGES_PER_FAULT = parameters.nicPagesPerFault.value;

/** What one message of a cold device took because of faults, in microseconds, and how many there were. */
export interface FaultsOfMessage {
  readonly microseconds: number;
  readonly faults: number;
}

/** What all three have. */
class Machine {
  readonly events = new EventQueue();
  readonly counters = new Counters();
  readonly memory = new PhysicalMemory(MEMORY_BYTES);
  readonly frames = new FrameAllocator(this.memory, 1, MEMORY_BYTES / PAGE_SIZE - 1);
  readonly mm = new AddressSpace({ pages: new UserPages(this.memory, this.frames, null) });
  readonly cpu = new Cpu(0);
  readonly device = createDmaDevice({ name: '0000:03:00.0', sourceId: SOURCE_ID });
  readonly costs = resolveCosts({ preset: 'published', overrides: {} }, PROFILE);
  readonly iommu: Iommu;
  readonly rootPort: FabricPort;

  constructor(vendor: IommuVendor) {
    const { memory, frames, counters, events, costs } = this;
    this.iommu = new Iommu({
      name: 'iommu0',
      memory,
      frames,
      geometry: {
        iotlb: { entries4K: 128, entries2M: 32, entries1G: 4, ways: 16 },
        pagingCache: { entries512G: 8, entries1G: 16, entries2M: 64 },
        contextCacheEntries: 16,
        walkers: 6,
      },
      costs: costs.hardware,
      counters,
      log: null,
      vendor,
    });
    const fabric = new Fabric({
      events,
      memory,
      translator: this.iommu,
      counters,
      costs: {
        rootComplex: nanoseconds(parameters.rootComplex.value),
        memoryRead: nanoseconds(parameters.memoryRead.value),
        mmioWrite: nanoseconds(0),
      },
    });
    this.rootPort = fabric.addRootPort({
      generation: 3,
      lanes: 16,
      maxPayloadSize: 256,
      maxReadRequestSize: 512,
      propagation: nanoseconds(parameters.propagation.value),
    });
  }

  /** Memory that the process has touched: for the device alone a page is missing. */
  touchedMemory(bytes: number): number {
    const pages = Math.ceil(bytes / PAGE_SIZE);
    const start = this.mm.map({ pages });
    for (let page = start; page < start + pages; page += 1) this.mm.write(page * PAGE_SIZE, Uint8Array.of(page & 0xff));
    return start;
  }

  run(): void {
    while (this.events.step());
  }

  check(address: number, bytes: Uint8Array): void {
    const seen = new Uint8Array(bytes.length);
    this.mm.read(address, seen);
    if (seen.some((byte, index) => byte !== bytes[index])) throw new Error('a message left wrong bytes in the process');
  }

  /** A domain whose addresses are the process's, and the process's pages in it as devices ask for them. `ats`: the device keeps translations. */
  mirror(start: number, pages: number, ats: boolean): ProcessMirror {
    const { memory, frames, iommu, counters, mm, cpu, events, costs } = this;
    const domains = new DeviceDomains(memory, frames, iommu);
    const domainId = domains.takeDomainId();
    const domain = new IommuDomain({
      profile: kernelProfile(PROFILE),
      costs: costs.dma,
      memory,
      frames,
      iommu,
      format: domains.format,
      levels: domains.firstLevels,
      domainId,
      counters,
      trace: null,
      log: null,
      deviceName: this.device.name,
      topChanged: (owner, page, levels) => {
        domains.topChanged(owner, SOURCE_ID, domainId, page, levels);
      },
    });
    domains.attach(SOURCE_ID, domainId, domain.table.rootPage, domain.table.levels, ats);
    if (ats) domain.addDeviceTlb(SOURCE_ID);
    return new ProcessMirror({ mm, domain, cpu, events, start, pages });
  }
}

/** One message of `bytes` to memory that the adapter has not seen, with faults of up to `pagesPerFault` pages. */
export function onDemandPaging(bytes: number, pagesPerFault: number): FaultsOfMessage {
  const machine = new Machine('vtd');
  const { memory, frames, iommu, counters, device, events, cpu, costs } = machine;
  const api = new DmaApi({
    profile: kernelProfile(PROFILE),
    costs: costs.dma,
    memory,
    frames,
    iommu,
    counters,
    trace: null,
    timers: null,
    cpus: 1,
    log: null,
  });
  api.attach(device, 'strict');
  const nic = new NicPageFaults({
    port: machine.rootPort.addFunction(SOURCE_ID),
    events,
    costs: {
      faultEvent: microseconds(parameters.nicFaultEvent.value),
      tableUpdate: microseconds(parameters.nicTableUpdate.value),
      tableUpdatePerEntry: nanoseconds(parameters.nicTableUpdatePerEntry.value),
      resume: microseconds(parameters.nicResume.value),
    },
    pagesPerFault,
  });
  const driver = new OdpDriver({
    api,
    device,
    adapter: nic,
    events,
    cpu,
    costs: {
      faultEntry: microseconds(parameters.odpFaultEntry.value),
      rangeFaultPerPage: nanoseconds(parameters.odpRangeFaultPerPage.value),
      minorFault: nanoseconds(parameters.odpMinorFault.value),
      majorFault: microseconds(parameters.odpMajorFault.value),
      advise: nanoseconds(parameters.odpAdvise.value),
      createKey: microseconds(parameters.odpCreateKey.value),
    },
  });
  const start = machine.touchedMemory(bytes);
  const key = driver.register(machine.mm, start, Math.ceil(bytes / PAGE_SIZE), true);
  const content = messageOf(bytes);
  const outcome: boolean[] = [];
  nic.start(key, start * PAGE_SIZE, content, true, (ok) => outcome.push(ok));
  machine.run();
  expectServed(outcome);
  machine.check(start * PAGE_SIZE, content);
  driver.deregister(key);
  return { microseconds: nic.stalled / PICOSECONDS_PER_MICROSECOND, faults: nic.faults };
}

/** The same message from a device that translates by ATS and asks by PRI, with the adapter's own time for each request. */
export function pageRequests(bytes: number, pagesPerRequest: number): FaultsOfMessage {
  const machine = new Machine('vtd');
  const { memory, frames, events, iommu, rootPort } = machine;
  const { way } = rootPort;
  const rootComplex = nanoseconds(parameters.rootComplex.value);
  const agent = new TranslationAgent({ translator: iommu, way, rootComplex, answerOf: answerOfFaultReason });
  const deviceTlb = new DeviceTlb({
    sourceId: SOURCE_ID,
    agent,
    untranslated: iommu,
    arrays: [{ pages: 1, entries: parameters.atsCacheEntries.value, ways: parameters.atsCacheWays.value }],
    entriesPerRequest: 1,
    lookup: nanoseconds(parameters.atsLookup.value),
    useTime: nanoseconds(parameters.memoryRead.value),
    invalidation: nanoseconds(parameters.atsInvalidation.value),
  });
  const records = parameters.pageRequestRecords.value;
  const queue = new PageRequestQueue({ memory, frames, events, layout: 'vtd', records });
  iommu.deviceTlbs.add(SOURCE_ID, { tlb: deviceTlb, way, rootComplex, queueDepth: 0 });
  const allocation = parameters.pageRequestAllocation.value;
  const requests = new PageRequestInterface({
    sourceId: SOURCE_ID,
    events,
    way,
    rootComplex,
    target: queue,
    allocation,
  });
  queue.connect(requests);
  queue.enable(SOURCE_ID);
  const port = rootPort.addFunction(SOURCE_ID, null, deviceTlb);
  return faultingMessage(machine, bytes, {
    port,
    path: new AtsFaultPath(deviceTlb, requests, NO_PASID),
    ats: true,
    source: new PageRequestSource(queue),
    beforeRequest: microseconds(parameters.nicFaultEvent.value),
    afterAnswer: microseconds(parameters.nicResume.value),
    pagesPerRequest,
    host: parameters.pageRequestHost.value,
  });
}

/** A message of a device whose transactions stall in an SMMU, one page after the other. */
export function stalledFaults(bytes: number): FaultsOfMessage {
  const machine = new Machine('smmuv3');
  const { memory, frames, iommu, rootPort } = machine;
  const eventQueue = new SmmuEventQueue(memory, frames);
  const stalled = new StalledTransactions(parameters.stallTransactions.value, eventQueue);
  return faultingMessage(machine, bytes, {
    port: rootPort.addFunction(SOURCE_ID),
    path: new StallFaultPath({
      streamId: SOURCE_ID,
      translator: iommu,
      stalled,
      way: rootPort.way,
      rootComplex: nanoseconds(parameters.rootComplex.value),
    }),
    ats: false,
    source: new StallSource(eventQueue, stalled),
    beforeRequest: nanoseconds(0),
    afterAnswer: nanoseconds(0),
    pagesPerRequest: 1,
    host: STALLED_HOST,
  });
}

interface FaultingSetup {
  readonly port: DmaPort;
  readonly path: PageFaultPath;
  /** The device asks for translations. */
  readonly ats: boolean;
  readonly source: IoPageFaultSource;
  readonly beforeRequest: Picoseconds;
  readonly afterAnswer: Picoseconds;
  readonly pagesPerRequest: number;
  /** What the host takes for a fault, microseconds. */
  readonly host: number;
}

function faultingMessage(machine: Machine, bytes: number, setup: FaultingSetup): FaultsOfMessage {
  const { events, cpu } = machine;
  const { port, path, source, beforeRequest, afterAnswer, pagesPerRequest } = setup;
  const part = (value: number): Picoseconds => microseconds((value / STALLED_HOST) * setup.host);
  const start = machine.touchedMemory(bytes);
  const mirror = machine.mirror(start, Math.ceil(bytes / PAGE_SIZE), setup.ats);
  const handler = new IoPageFaultHandler({
    source,
    events,
    cpu,
    costs: {
      interrupt: part(parameters.faultInterrupt.value),
      worker: part(parameters.faultWorker.value),
      handler: part(parameters.faultHandler.value),
      respond: part(parameters.faultRespond.value),
    },
    mirrorOf: () => mirror,
  });
  const device = new FaultingDma({ port, path, events, beforeRequest, afterAnswer, pagesPerRequest });
  const content = messageOf(bytes);
  const outcome: boolean[] = [];
  device.start(start * PAGE_SIZE, content, true, (ok) => outcome.push(ok));
  machine.run();
  expectServed(outcome);
  machine.check(start * PAGE_SIZE, content);
  if (handler.gathered > 0) throw new Error('the handler kept requests of a group');
  mirror.release();
  return { microseconds: device.stalled / PICOSECONDS_PER_MICROSECOND, faults: device.faults };
}

function messageOf(bytes: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, index) => (index + (index >> 12) * 31) & 0xff);
}

function expectServed(outcome: readonly boolean[]): void {
  if (outcome.length !== 1 || outcome[0] !== true) throw new Error('a message of mapped memory was not served');
}

function microseconds(value: number): Picoseconds {
  return nanoseconds(value * NANOSECONDS_PER_MICROSECOND);
}
