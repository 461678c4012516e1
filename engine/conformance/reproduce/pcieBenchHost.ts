/**
 * A host of pcie-bench (SIGCOMM'18), set up from three figures of its latency curve: b, the latency of an 8-byte read that hits; m,
 * what an IOTLB miss adds; K, the entries of the IOTLB (lab/measuredPreset.ts). The rest is fixtures/presets/pcie-bench.json. A host is
 * the emulator's own pieces: page tables in memory written by the DMA API, IOMMU, root port, link, last-level cache, and the adapter
 * behind them.
 */
import preset from '../../../fixtures/presets/pcie-bench.json' with { type: 'json' };
import { DmaBenchCard } from '../../devices/dmaBenchCard.ts';
import { DMA_BIDIRECTIONAL } from '../../dma/attributes.ts';
import { createDmaDevice } from '../../dma/device.ts';
import { DmaApi } from '../../dma/dmaApi.ts';
import { kernelProfile } from '../../dma/kernels/profiles.ts';
import { Iommu } from '../../iommu/iommu.ts';
import { FREE_IOMMU_COSTS } from '../../iommu/freeCosts.ts';
import type { HardwareParameter } from '../../lab/hardwarePresets.ts';
import { measuredPreset, type MeasuredCurve } from '../../lab/measuredPreset.ts';
import { resolveCosts } from '../../lab/presets.ts';
import { PAGE_SIZE, physAddr } from '../../memory/addresses.ts';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { LastLevelCache } from '../../memory/lastLevelCache.ts';
import { MemoryPort } from '../../memory/memoryPort.ts';
import { MemorySystem } from '../../memory/memorySystem.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { Counters } from '../../metrics/counters.ts';
import { Fabric } from '../../pcie/fabric.ts';
import { Cpu } from '../../time/cpu.ts';
import { EventQueue } from '../../time/eventQueue.ts';
import { LabError } from '../../time/labError.ts';
import { nanoseconds, picoseconds } from '../../time/picoseconds.ts';
import type { RandomStream } from '../../time/random.ts';
import type { MeasuredFit } from './referenceFile.ts';

const { parameters } = preset;
const SOURCE_ID = 0x0300;
const MEMORY_BYTES = 2 ** 28;
const LINE = 64;

export class PcieBenchHost {
  readonly card: DmaBenchCard;
  private readonly api: DmaApi;
  private readonly frames: FrameAllocator;
  private readonly cache: LastLevelCache;
  private readonly cpu = new Cpu(0);
  private readonly device = createDmaDevice({ name: '0000:03:00.0', sourceId: SOURCE_ID });
  private busPages = new Float64Array(0);

  constructor(fit: MeasuredFit) {
    const measured = measuredPreset(curveOf(fit));
    const memory = new PhysicalMemory(MEMORY_BYTES);
    const frames = new FrameAllocator(memory, 1, MEMORY_BYTES / PAGE_SIZE - 1);
    const counters = new Counters();
    const events = new EventQueue();
    const { walk, orderedCompletions } = classOf(fit.K).parameters;
    const memoryPort = new MemoryPort({
      // A walk that takes less altogether is out of the way of the data behind it sooner.
      walk: nanoseconds(Math.min(walk.value, fit.m)),
      dataRead: nanoseconds(parameters.dataRead.value),
      dataReadPerLine: nanoseconds(parameters.dataReadPerLine.value),
    });
    const tableRead = nanoseconds(figure(measured.costs.tableRead));
    const iommu = new Iommu({
      name: 'iommu0',
      memory,
      frames,
      geometry: {
        iotlb: {
          entries4K: figure(measured.iommu['iotlbEntries4K']),
          entries2M: figure(measured.iommu['iotlbEntries2M']),
          entries1G: figure(measured.iommu['iotlbEntries1G']),
          ways: figure(measured.iommu['iotlbWays']),
        },
        pagingCache: {
          entries512G: figure(measured.iommu['pagingCache512G']),
          entries1G: figure(measured.iommu['pagingCache1G']),
          entries2M: figure(measured.iommu['pagingCache2M']),
        },
        contextCacheEntries: figure(measured.iommu['contextCacheEntries']),
        walkers: figure(measured.iommu['walkers']),
      },
      costs: {
        ...FREE_IOMMU_COSTS,
        iotlbHit: nanoseconds(figure(measured.costs.iotlbHit)),
        tableRead,
        walkOverhead: nanoseconds(figure(measured.costs.walkOverhead)),
      },
      counters,
      log: null,
      memoryPort,
    });
    this.cache = new LastLevelCache({
      bytes: parameters.cacheBytes.value,
      ways: parameters.cacheWays.value,
      deviceWays: parameters.cacheDeviceWays.value,
    });
    const cachedRead = nanoseconds(memoryBehindPort(figure(measured.costs.memoryRead), fit.b));
    const memoryCosts = {
      cachedRead,
      memoryRead: picoseconds(cachedRead + nanoseconds(parameters.dramRead.value)),
      tableRead,
      dramTableRead: tableRead,
      remoteSocket: nanoseconds(0),
      socketLinkPerLine: nanoseconds(0),
    };
    const fabric = new Fabric({
      events,
      memory,
      translator: iommu,
      counters,
      costs: {
        rootComplex: nanoseconds(figure(measured.costs.rootComplex)),
        memoryRead: cachedRead,
        mmioWrite: nanoseconds(0),
      },
      memoryTiming: new MemorySystem([{ pages: memory.pages, cache: this.cache }], memoryCosts, counters).seenFrom(0),
      memoryPort,
      postedCredits: parameters.postedCredits.value,
      orderedCompletions: orderedCompletions.value,
    });
    const port = fabric
      .addRootPort({
        generation: parameters.generation.value,
        lanes: parameters.lanes.value,
        maxPayloadSize: parameters.maxPayloadSize.value,
        maxReadRequestSize: parameters.maxReadRequestSize.value,
        completionBytes: parameters.completionBytes.value,
        propagation: nanoseconds(parameters.propagation.value),
      })
      .addFunction(SOURCE_ID);
    this.card = new DmaBenchCard(port, events, {
      commandOverhead: nanoseconds(parameters.commandOverhead.value),
      engineOverhead: nanoseconds(parameters.engineOverhead.value),
      perByte: nanoseconds(parameters.perByte.value),
      readsInFlight: parameters.readsInFlight.value,
      readBufferBytes: parameters.readBufferBytes.value,
      readInterval: nanoseconds(parameters.readInterval.value),
      writeInterval: nanoseconds(parameters.writeInterval.value),
      writeFixed: nanoseconds(parameters.writeFixed.value),
      writePerByte: nanoseconds(parameters.writePerByte.value),
    });
    const profile = '6.12';
    this.frames = frames;
    this.api = new DmaApi({
      profile: kernelProfile(profile),
      costs: resolveCosts({ preset: 'default', overrides: {} }, profile).dma,
      memory,
      frames,
      iommu,
      counters,
      trace: null,
      timers: null,
      cpus: 1,
      log: null,
    });
    this.api.attach(this.device, 'strict');
  }

  /** Maps a window page by page, as superpages were off, and lets the host touch all of it once. */
  openWindow(bytes: number): void {
    const pages = Math.ceil(bytes / PAGE_SIZE);
    this.busPages = new Float64Array(pages);
    for (let page = 0; page < pages; page += 1) {
      const phys = this.frames.allocatePage() * PAGE_SIZE;
      const address = this.api.dmaMapPhys(this.cpu, this.device, physAddr(phys), PAGE_SIZE, DMA_BIDIRECTIONAL, 0);
      if (this.api.dmaMappingError(this.device, address)) throw new Error('the window of a host cannot be mapped');
      this.busPages[page] = address;
      for (let line = 0; line < PAGE_SIZE; line += LINE) this.cache.cpuAccess(phys + line);
    }
  }

  /** Places in the window at random, each access within a page. */
  randomPlaces(bytes: number, window: number, random: RandomStream): () => number {
    const unit = Math.max(LINE, bytes);
    const units = Math.max(1, Math.floor(window / unit));
    const { busPages } = this;
    return () => {
      const offset = random.below(units) * unit;
      return busPages[Math.floor(offset / PAGE_SIZE)]! + (offset % PAGE_SIZE);
    };
  }
}

/** Why no host can have these figures; null: one can. */
export function fitProblem(fit: MeasuredFit): LabError | null {
  try {
    memoryBehindPort(figure(measuredPreset(curveOf(fit)).costs.memoryRead), fit.b);
    return null;
  } catch (error) {
    if (error instanceof LabError) return error;
    throw error;
  }
}

function curveOf({ K, m, b }: MeasuredFit): MeasuredCurve {
  return { entries: K, missNs: m, baseNs: b };
}

function classOf(entries: number) {
  const found = preset.classes.find(({ entriesAtLeast }) => entries >= entriesAtLeast);
  if (found === undefined) throw new Error('the last class takes every host');
  return found;
}

/** What a read of data takes behind the port that it shares with walks. */
function memoryBehindPort(memoryRead: number, base: number): number {
  const left = memoryRead - parameters.dataRead.value - parameters.dataReadPerLine.value;
  if (left >= 0) return left;
  throw new LabError(
    'fit',
    `b is ${String(base)} ns, less than link, root complex and adapter take (${(base - left).toFixed(0)} ns).`,
    'Give the mean latency of an 8-byte read that hits, in ns.',
  );
}

function figure(parameter: HardwareParameter | undefined): number {
  return Number(parameter?.value);
}
