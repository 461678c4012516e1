/**
 * The host of F&S (Rubin, Agarwal, Cai, Agarwal: Fast & Safe IO memory protection, SOSP'24), set up from
 * fixtures/presets/hardware/fands.json: five cores that receive from a 100 Gb/s adapter, every unmap with an invalidation at once, by the
 * emulator's own pieces. `strict` maps page by page and its invalidations never carry the hint, as in Linux before October 2025; the
 * authors' remedy `fands` changes both, and each can be had without the other.
 * Before it is measured the machine has worked: all channels of the adapter had their rings and frames to send mapped, and gave the
 * addresses back in no order, so that the kernel's cache of free addresses hands out pages of many page tables.
 * Leaves out: the depot's limit of 32 magazines in Linux 6.0; other devices of the IOMMU.
 */
import preset from '../../../fixtures/presets/hardware/fands.json' with { type: 'json' };
import { Senders } from '../../devices/senders.ts';
import { ReceiveNic } from '../../devices/receiveNic.ts';
import { DMA_FROM_DEVICE } from '../../dma/attributes.ts';
import { createDmaDevice } from '../../dma/device.ts';
import { DmaApi } from '../../dma/dmaApi.ts';
import { kernelProfile } from '../../dma/kernels/profiles.ts';
import { DmaIovaState } from '../../dma/twoStep.ts';
import { ReceiveRing } from '../../drivers/receiveRing.ts';
import { FREE_IOMMU_COSTS } from '../../iommu/freeCosts.ts';
import { Iommu } from '../../iommu/iommu.ts';
import { resolveCosts } from '../../lab/presets.ts';
import { dmaAddr, PAGE_SIZE, physAddr } from '../../memory/addresses.ts';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { Counters } from '../../metrics/counters.ts';
import { Fabric } from '../../pcie/fabric.ts';
import { Cpu } from '../../time/cpu.ts';
import { EventQueue } from '../../time/eventQueue.ts';
import { nanoseconds, PICOSECONDS_PER_SECOND, type Picoseconds } from '../../time/picoseconds.ts';
import { RandomStream } from '../../time/random.ts';
import { ReceiveFlows } from '../../workloads/receiveFlows.ts';

/** The two halves of the authors' remedy. */
export interface ReceiveMapping {
  /** One range of IOVA for each descriptor, mapped and unmapped as a whole; else page by page. */
  readonly contiguous: boolean;
  /** Of an invalidation that left all tables in place. */
  readonly givesInvalidationHint: boolean;
}

/** What was published. */
export const RECEIVE_MODES = {
  strict: { contiguous: false, givesInvalidationHint: false },
  fands: { contiguous: true, givesInvalidationHint: true },
} as const satisfies Record<string, ReceiveMapping>;

export type ReceiveMode = keyof typeof RECEIVE_MODES;

/** For each 4 KiB of data. A miss of a level of the paging-structure caches means that no level below had it either. */
export interface ReceiveFigures {
  readonly iotlb: number;
  readonly l1: number;
  readonly l2: number;
  readonly l3: number;
  readonly gbps: number;
  readonly acknowledgements: number;
  readonly unmaps: number;
  readonly drops: number;
}

export type FandsParameters = { readonly [Name in keyof typeof preset.parameters]: number };

export const FANDS_PARAMETERS = Object.fromEntries(
  Object.entries(preset.parameters).map(([name, { value }]) => [name, value]),
) as FandsParameters;

/** Of the recorded kernels the oldest, for both: the authors built their remedy on the kernel that they compare it with. */
const KERNEL = '6.12';
const MEMORY_BYTES = 2 ** 32;
const SOURCE_ID = 0x0300;
const COMPLETION_ENTRIES = 4096;
const SEND_ENTRIES = 1024;
const NANOSECONDS_PER_MICROSECOND = 1000;
const BITS = 8;

export class FandsMachine {
  readonly counters = new Counters();
  readonly memory = new PhysicalMemory(MEMORY_BYTES);
  readonly frames = new FrameAllocator(this.memory, 1, MEMORY_BYTES / PAGE_SIZE - 1);
  readonly senders: Senders;
  readonly flows: ReceiveFlows;
  readonly nic: ReceiveNic;
  readonly api: DmaApi;
  private readonly events = new EventQueue();
  private readonly device = createDmaDevice({ name: '0000:03:00.0', sourceId: SOURCE_ID });
  private readonly cpus: readonly Cpu[];
  private readonly rings: readonly ReceiveRing[];
  private readonly parameters: FandsParameters;

  constructor(
    flows: number,
    ringPackets: number,
    { contiguous, givesInvalidationHint }: ReceiveMapping,
    seed = 1,
    parameters: FandsParameters = FANDS_PARAMETERS,
  ) {
    const { counters, memory, frames, events, device } = this;
    this.parameters = parameters;
    const profile = kernelProfile(KERNEL);
    const costs = resolveCosts({ preset: 'default', overrides: {} }, KERNEL);
    const { hardware } = costs;
    const iommu = new Iommu({
      name: 'iommu0',
      memory,
      frames,
      geometry: {
        iotlb: { entries4K: parameters.iotlbEntries, entries2M: 32, entries1G: 4, ways: parameters.iotlbWays },
        pagingCache: {
          entries512G: parameters.pagingCache512G,
          entries1G: parameters.pagingCache1G,
          entries2M: parameters.pagingCache2M,
          ways: parameters.pagingCacheWays,
        },
        contextCacheEntries: 16,
        walkers: parameters.walkers,
        emptiesSets: parameters.emptiesSets !== 0,
      },
      costs: {
        ...FREE_IOMMU_COSTS,
        tableRead: nanoseconds(parameters.tableRead),
        walkOverhead: nanoseconds(parameters.walkOverhead),
        invalidationWait: hardware.invalidationWait,
        invalidationService: hardware.invalidationService,
        invalidationDescriptor: hardware.invalidationDescriptor,
      },
      counters,
      log: null,
    });
    this.cpus = Array.from({ length: Math.max(parameters.channels, parameters.cores) }, (_, id) => new Cpu(id));
    this.api = new DmaApi({
      profile: { ...profile, twoStepAvailable: contiguous, givesInvalidationHint },
      costs: costs.dma,
      memory,
      frames,
      iommu,
      counters,
      trace: null,
      timers: null,
      cpus: this.cpus.length,
      log: null,
    });
    this.api.attach(device, 'strict');
    const fabric = new Fabric({
      events,
      memory,
      translator: iommu,
      counters,
      costs: hardware,
      postedCredits: parameters.postedCredits,
    });
    const port = fabric
      .addRootPort({
        generation: 3,
        lanes: parameters.lanes,
        maxPayloadSize: 256,
        maxReadRequestSize: 512,
        propagation: nanoseconds(100),
      })
      .addFunction(SOURCE_ID);
    const random = new RandomStream(seed);
    const microseconds = (value: number): Picoseconds => nanoseconds(value * NANOSECONDS_PER_MICROSECOND);
    this.senders = new Senders(events, random.fork('senders'), {
      flows,
      rings: parameters.cores,
      packetBytes: parameters.packetBytes,
      trainPackets: parameters.trainPackets,
      roundTrip: microseconds(parameters.roundTrip),
      probeTime: microseconds(parameters.probeTime),
      retransmissionTime: microseconds(parameters.retransmissionTime),
      receiveWindow: parameters.receiveWindow,
    });
    this.flows = new ReceiveFlows(
      events,
      memory,
      this.senders,
      {
        flows,
        pollBudget: parameters.pollBudget,
        mergedPackets: parameters.mergedPackets,
        readPackets: parameters.readPackets,
        receiveWindow: parameters.receiveWindow,
        acknowledgementBytes: parameters.acknowledgementBytes,
        packetCost: nanoseconds(parameters.packetCost),
        mergedCost: nanoseconds(parameters.mergedCost),
        copyCost: nanoseconds(parameters.copyCost),
        wakeCost: nanoseconds(parameters.wakeCost),
        acknowledgementCost: nanoseconds(parameters.acknowledgementCost),
      },
      frames.allocatePage() * PAGE_SIZE,
    );
    this.nic = new ReceiveNic(
      port,
      events,
      {
        pagesPerDescriptor: parameters.pagesPerDescriptor,
        strideBytes: parameters.strideBytes,
        packetInterval: nanoseconds(((parameters.packetBytes + parameters.wireGapBytes) * BITS) / parameters.wire),
        packetsHeld: parameters.packetsHeld,
        packetsBuffered: parameters.packetsBuffered,
        interruptPackets: parameters.interruptPackets,
        interruptDelay: microseconds(parameters.interruptDelay),
      },
      this.flows,
    );
    const descriptors = Math.max(
      2,
      Math.ceil((ringPackets * parameters.packetRoom) / (parameters.pagesPerDescriptor * PAGE_SIZE)),
    );
    this.rings = Array.from({ length: parameters.cores }, (_, core) => {
      const options = {
        api: this.api,
        device,
        memory,
        frames,
        nic: this.nic,
        descriptors,
        pagesPerDescriptor: parameters.pagesPerDescriptor,
        cachedPages: parameters.cachedPages,
        contiguous,
        completionEntries: Math.max(COMPLETION_ENTRIES, descriptors * parameters.pagesPerDescriptor),
        sendEntries: SEND_ENTRIES,
        sendBatch: parameters.sendBatch,
      };
      return new ReceiveRing(this.cpus[core]!, options, (cpu, flow, pages, offset) => {
        this.flows.take(cpu, flow, pages, offset);
      });
    });
    this.workEarlier(random.fork('earlier'), descriptors, contiguous);
    this.flows.start(this.rings, this.cpus);
    this.nic.connect(this.senders);
    this.senders.start(() => {
      this.nic.resume();
    });
  }

  /** Receives so many packets. */
  receive(packets: number): void {
    const until = this.flows.packets + packets;
    while (this.flows.packets < until) {
      if (!this.events.step()) throw new Error('the host has stopped receiving');
    }
  }

  /** Receives some packets to get going, then so many that count. */
  measure(warmUp: number, packets: number): ReceiveFigures {
    this.receive(warmUp);
    const before = this.counters.toRecord();
    const begun = this.events.now;
    const { acknowledgements } = this.flows;
    const { drops, packets: arrived } = this.nic;
    this.receive(packets);
    const after = this.counters.toRecord();
    const { packetBytes, headerBytes } = this.parameters;
    const data = (this.nic.packets - arrived) * (packetBytes - headerBytes);
    const each = (count: number): number => (count * PAGE_SIZE) / data;
    const counted = (...names: readonly (keyof typeof after)[]): number =>
      each(names.reduce((sum, name) => sum + after[name] - before[name], 0));
    return {
      iotlb: counted('iotlbMisses4K', 'iotlbMisses2M', 'iotlbMisses1G'),
      l1: counted('pagingCacheMisses'),
      l2: counted('pagingCacheMisses', 'pagingCacheHits512G'),
      l3: counted('pagingCacheMisses', 'pagingCacheHits512G', 'pagingCacheHits1G'),
      gbps: (data * BITS * PICOSECONDS_PER_SECOND) / 1e9 / (this.events.now - begun),
      acknowledgements: each(this.flows.acknowledgements - acknowledgements),
      unmaps: counted('iommuUnmaps'),
      drops: each(this.nic.drops - drops),
    };
  }

  /** Lets what is under way end, and takes everything back. */
  close(): void {
    this.senders.stop();
    while (this.events.step());
    this.flows.stop();
    for (const [core, ring] of this.rings.entries()) ring.close(this.cpus[core]!);
  }

  /** What other channels had mapped comes back to the CPUs' caches of addresses, in no order. */
  private workEarlier(random: RandomStream, descriptors: number, contiguous: boolean): void {
    const { api, device, cpus, parameters } = this;
    const frame = physAddr(PAGE_SIZE);
    const { channels, cores, pagesPerDescriptor, sentPages, rangeDistance } = parameters;
    const singles: number[] = [];
    const ranges: DmaIovaState[] = [];
    for (let channel = 0; channel < channels; channel += 1) {
      const pages = sentPages + descriptors * pagesPerDescriptor;
      for (let page = 0; page < pages; page += 1) {
        const address = api.dmaMapPhys(cpus[channel]!, device, frame, PAGE_SIZE, DMA_FROM_DEVICE, 0);
        if (!api.dmaMappingError(device, address)) singles.push(address);
      }
    }
    const wanted = contiguous ? cores * (descriptors + 1) : 0;
    for (let index = 0; index < wanted * rangeDistance; index += 1) {
      const range = new DmaIovaState();
      const cpu = cpus[index % channels]!;
      if (api.dmaIovaTryAlloc(cpu, device, range, 0, pagesPerDescriptor * PAGE_SIZE)) ranges.push(range);
    }
    for (let freed = 0; freed < wanted && ranges.length > 0; freed += 1) {
      const [range] = ranges.splice(random.below(ranges.length), 1);
      if (range !== undefined) api.dmaIovaFree(cpus[freed % cores]!, device, range);
    }
    for (let left = singles.length; left > 0; left -= 1) {
      const chosen = random.below(left);
      const address = singles[chosen]!;
      singles[chosen] = singles[left - 1]!;
      const cpu = cpus[random.below(channels)]!;
      api.dmaUnmapPhys(cpu, device, dmaAddr(address), PAGE_SIZE, DMA_FROM_DEVICE, 0);
    }
    for (const cpu of cpus) cpu.now = this.events.now;
  }
}
