/**
 * For tests: a machine whose one device has a device TLB, and between driver and IOMMU somebody who passes on what the driver says: as it
 * is, without the commands for devices, or those before the ones for the IOTLB, with an access of the device in between.
 */
import { DeviceTlb } from '../iommu/ats/deviceTlb.ts';
import { answerOfFaultReason, TranslationAgent } from '../iommu/ats/translationAgent.ts';
import type { IommuVendor } from '../iommu/architectures.ts';
import { Iommu } from '../iommu/iommu.ts';
import { dmaAddr, PAGE_SIZE } from '../memory/addresses.ts';
import { FrameAllocator } from '../memory/frameAllocator.ts';
import { PhysicalMemory } from '../memory/physicalMemory.ts';
import { Counters } from '../metrics/counters.ts';
import type { DmaPort } from '../pcie/dmaPort.ts';
import { Fabric } from '../pcie/fabric.ts';
import { Cpu } from '../time/cpu.ts';
import { EventQueue } from '../time/eventQueue.ts';
import { nanoseconds, picoseconds } from '../time/picoseconds.ts';
import { createDmaDevice, type DmaDevice, type DomainType } from './device.ts';
import { DmaApi } from './dmaApi.ts';
import { dmaCostParameters, resolveDmaCosts } from './kernels/costs.ts';
import { kernelProfile } from './kernels/profiles.ts';
import type { RemappingHardware } from './remappingHardware.ts';

const SOURCE = 0x18;
const NS = nanoseconds;
/** In nanoseconds. */
export const LINK_PROPAGATION = 120;
export const ROOT_COMPLEX = 90;
export const DEVICE_INVALIDATION = 200;
export const INVALIDATION_WAIT = 700;
export const INVALIDATION_DESCRIPTOR = 60;
const NOTHING = new Uint32Array(0);

export type Telling = 'as the driver does' | 'no device' | 'devices first';

export interface DeviceTlbMachineOptions {
  readonly vendor: IommuVendor;
  readonly scalableMode: boolean;
  readonly domain: DomainType;
  readonly telling?: Telling;
  readonly ats?: boolean;
}

export class DeviceTlbMachine {
  readonly memory = new PhysicalMemory(2 ** 30);
  readonly counters = new Counters();
  readonly events = new EventQueue();
  readonly cpu = new Cpu(0);
  readonly iommu: Iommu;
  readonly device: DmaDevice;
  readonly deviceTlb: DeviceTlb;
  readonly api: DmaApi;
  /** What the device does between the two kinds of commands. */
  inBetween: () => void = () => undefined;
  private readonly port: DmaPort;
  private readonly vendor: IommuVendor;
  private readonly commandWords: number;
  private held: Uint32Array = NOTHING;

  constructor({ vendor, scalableMode, domain, telling = 'as the driver does', ats = true }: DeviceTlbMachineOptions) {
    const { memory, counters, events } = this;
    this.vendor = vendor;
    this.commandWords = scalableMode ? 8 : 4;
    const frames = new FrameAllocator(memory, 2 ** 16, 2 ** 16);
    this.iommu = new Iommu({
      name: 'iommu0',
      memory,
      frames,
      counters,
      log: null,
      vendor,
      scalableMode,
      geometry: {
        iotlb: { entries4K: 64, entries2M: 16, entries1G: 4, ways: 4 },
        pagingCache: { entries512G: 4, entries1G: 4, entries2M: 16 },
        contextCacheEntries: 4,
        walkers: 1,
      },
      costs: {
        iotlbHit: NS(2),
        contextCacheHit: NS(2),
        pagingCacheLookup: NS(2),
        tableRead: NS(60),
        walkOverhead: NS(5),
        invalidationWait: NS(INVALIDATION_WAIT),
        invalidationService: NS(50),
        invalidationDescriptor: NS(INVALIDATION_DESCRIPTOR),
      },
    });
    const fabric = new Fabric({
      events,
      memory,
      translator: this.iommu,
      counters,
      costs: { rootComplex: NS(ROOT_COMPLEX), memoryRead: NS(80), mmioWrite: NS(0) },
    });
    const rootPort = fabric.addRootPort({
      generation: 3,
      lanes: 8,
      maxPayloadSize: 256,
      maxReadRequestSize: 512,
      propagation: NS(LINK_PROPAGATION),
    });
    const { way } = rootPort;
    const agent = new TranslationAgent({
      translator: this.iommu,
      way,
      rootComplex: NS(ROOT_COMPLEX),
      answerOf: answerOfFaultReason,
    });
    this.deviceTlb = new DeviceTlb({
      sourceId: SOURCE,
      agent,
      untranslated: this.iommu,
      arrays: [{ pages: 1, entries: 64, ways: 4 }],
      entriesPerRequest: 1,
      lookup: NS(5),
      useTime: NS(300),
      invalidation: NS(DEVICE_INVALIDATION),
    });
    if (ats)
      this.iommu.deviceTlbs.add(SOURCE, { tlb: this.deviceTlb, way, rootComplex: NS(ROOT_COMPLEX), queueDepth: 0 });
    this.port = rootPort.addFunction(SOURCE, null, ats ? this.deviceTlb : null);
    this.device = createDmaDevice({ name: '0000:00:03.0', sourceId: SOURCE, ats });
    this.api = new DmaApi({
      profile: kernelProfile('7.3'),
      costs: resolveDmaCosts(dmaCostParameters('recorded-instructions', '7.3')),
      memory,
      frames,
      iommu: telling === 'as the driver does' ? this.iommu : this.passingOn(telling === 'no device'),
      counters,
      trace: null,
      timers: null,
      cpus: 1,
      log: null,
    });
    this.api.attach(this.device, domain);
  }

  /** The byte that the device reads at a bus address, or null where it is refused. */
  deviceReads(address: number): number | null {
    const byte = new Uint8Array(1);
    const outcomes: number[] = [];
    const done = { handleEvent: () => void outcomes.push(this.port.lastStatus) };
    const start = {
      handleEvent: () => {
        this.port.read(dmaAddr(address), 1, byte, 0, done, 0, 0);
      },
    };
    this.events.schedule(picoseconds(Math.max(this.events.now, this.cpu.now)), start, 0);
    while (this.events.step());
    return outcomes[0] === 0 ? byte[0]! : null;
  }

  deviceKeeps(address: number): boolean {
    return this.deviceTlb.holds(-1, Math.floor(address / PAGE_SIZE));
  }

  private passingOn(withoutDevices: boolean): RemappingHardware {
    const { vendor, scalableMode, rangeInvalidation, invalidationQueue } = this.iommu;
    return {
      vendor,
      scalableMode,
      rangeInvalidation,
      setRootTable: (page) => {
        this.iommu.setRootTable(page);
      },
      invalidationQueue: {
        submit: (commands, count, at) => {
          const devices = this.chosen(commands, count, true);
          const others = this.chosen(commands, count, false);
          if (withoutDevices)
            return others.length === 0 ? at : invalidationQueue.submit(others, others.length / this.commandWords, at);
          this.held = Uint32Array.of(...this.held, ...others);
          if (devices.length === 0) return at;
          const told = invalidationQueue.submit(devices, devices.length / this.commandWords, at);
          this.inBetween();
          const rest = this.held;
          this.held = NOTHING;
          return invalidationQueue.submit(rest, rest.length / this.commandWords, told);
        },
      },
    };
  }

  private chosen(commands: Uint32Array, count: number, forDevices: boolean): Uint32Array {
    const words: number[] = [];
    for (let index = 0; index < count; index += 1) {
      const command = commands.subarray(index * this.commandWords, (index + 1) * this.commandWords);
      if (this.isForDevice(command) === forDevices) words.push(...command);
    }
    return Uint32Array.from(words);
  }

  private isForDevice(command: Uint32Array): boolean {
    switch (this.vendor) {
      case 'vtd':
        return (command[0]! & 0xf) === 0x3;
      case 'amd':
        return command[1]! >>> 28 === 4;
      default:
        return (command[0]! & 0xff) === 0x40;
    }
  }
}
