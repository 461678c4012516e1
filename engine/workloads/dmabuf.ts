/**
 * Messages of another host into and out of buffers that a GPU's driver exports, while they move between RAM and the GPU (rdma.ts; Linux
 * Documentation/driver-api/dma-buf.rst, "Dynamic DMA-buf sharing"): every message is compared to the byte, wherever its bytes lay.
 */
import type { MovingExporter } from '../dma/dmaBuf/movingExporter.ts';
import { RESERVATION_USAGE } from '../dma/dmaBuf/reservation.ts';
import { describeErrno } from '../dma/errno.ts';
import type { GpuDriver } from '../drivers/gpu/gpuDriver.ts';
import { DmabufDriver } from '../drivers/rdma/dmabufDriver.ts';
import { NicOdpAdapter } from '../drivers/rdma/nicOdpAdapter.ts';
import type { RegionRefusal } from '../drivers/rdma/umem.ts';
import type { DmabufRegion } from '../drivers/rdma/umemDmabuf.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import type { Cpu } from '../time/cpu.ts';
import type { EventHandler, EventQueue } from '../time/eventQueue.ts';
import { nanoseconds, picoseconds, type Picoseconds } from '../time/picoseconds.ts';
import type { RandomStream } from '../time/random.ts';
import { adapterOptions, type OdpMachine } from './odp.ts';
import { RdmaWorkload } from './rdma.ts';
import { PROTECTION_DOMAIN, type RdmaWorkloadOptions } from './rdmaMachine.ts';
import type { RegisteredBuffer, Registrar } from './registrar.ts';
import type { MemoryActivity, WorkloadMemory } from './workloadMemory.ts';

export interface DmabufWorkloadOptions extends RdmaWorkloadOptions {
  /** Where the buffers lie at first. */
  readonly placement: 'system' | 'local';
  /** Pages that one move takes, and the time between two, on average; 0 pages: nothing moves. */
  readonly movePages: number;
  readonly moveEvery: Picoseconds;
}

const FIRST_PAGE = 0x10_0000;
const MOVE = 0;
const LOCK_WAIT = nanoseconds(1000);

export function createDmabufWorkload(
  machine: Omit<OdpMachine, 'gpu' | 'pageScheme'> & { readonly gpu: GpuDriver },
  options: DmabufWorkloadOptions,
  random: RandomStream,
): RdmaWorkload {
  const cpus = machine.cpus ?? machine.work.cpus;
  const cpu = cpus[0]!;
  const memory = new ExportedBuffers(machine.gpu, cpu, options);
  const { movePages, moveEvery } = options;
  const changes =
    movePages === 0
      ? null
      : new BufferMoves(memory, { ...machine, cpu: cpus[1] ?? cpu, movePages, moveEvery }, random.fork('moves'));
  return new RdmaWorkload(machine, options, {
    memory,
    registrar: new DmabufRegions(machine, options, memory, cpu),
    changes,
  });
}

/** Buffers of a GPU's driver, one behind the other in the addresses by which messages name them. */
class ExportedBuffers implements WorkloadMemory {
  readonly buffers: Float64Array;
  readonly exporters: readonly MovingExporter[];
  readonly isChanging = false;
  private readonly cpu: Cpu;
  private readonly pages: number;

  constructor(
    gpu: GpuDriver,
    cpu: Cpu,
    { name, regions, regionBytes, messagesPerRegion, placement }: DmabufWorkloadOptions,
  ) {
    const count = regions + (messagesPerRegion > 0 ? 1 : 0);
    this.cpu = cpu;
    this.pages = Math.ceil(regionBytes / PAGE_SIZE);
    this.exporters = Array.from({ length: count }, (_, index) =>
      gpu.exportMoving(`${name}, buffer ${String(index)}`, this.pages, { placement }),
    );
    this.buffers = Float64Array.from({ length: count }, (_, index) => FIRST_PAGE + index * this.pages);
  }

  exporterOf(address: number): MovingExporter {
    return this.exporters[Math.floor((address / PAGE_SIZE - FIRST_PAGE) / this.pages)]!;
  }

  /** `dma_buf_begin_cpu_access`: copies into the buffer come first. */
  read(address: number, target: Uint8Array): void {
    this.exporterOf(address).read(this.settledOffset(address), target);
  }

  write(address: number, source: Uint8Array): void {
    this.exporterOf(address).write(this.settledOffset(address), source);
  }

  release(): void {
    for (const { buffer } of this.exporters) {
      buffer.reservation.wait(this.cpu, RESERVATION_USAGE.kernel, buffer.events);
      buffer.release(this.cpu);
    }
  }

  private settledOffset(address: number): number {
    const { buffer } = this.exporterOf(address);
    // another move may begin while this waits for one
    while (!buffer.reservation.testSignalled(RESERVATION_USAGE.kernel)) {
      buffer.reservation.wait(this.cpu, RESERVATION_USAGE.kernel, buffer.events);
    }
    return (address - FIRST_PAGE * PAGE_SIZE) % (this.pages * PAGE_SIZE);
  }
}

interface DmabufBuffer extends RegisteredBuffer {
  readonly region: DmabufRegion;
}

class DmabufRegions implements Registrar<DmabufBuffer> {
  private readonly machine: Omit<OdpMachine, 'gpu' | 'pageScheme'>;
  private readonly memory: ExportedBuffers;
  private readonly adapter: NicOdpAdapter;
  private readonly driver: DmabufDriver;
  private readonly writable: boolean;

  constructor(
    machine: Omit<OdpMachine, 'gpu' | 'pageScheme'>,
    { operation }: DmabufWorkloadOptions,
    memory: ExportedBuffers,
    cpu: Cpu,
  ) {
    const { events, odpCosts } = machine;
    this.machine = machine;
    this.memory = memory;
    this.writable = operation === 'write';
    this.adapter = new NicOdpAdapter({ ...adapterOptions(machine), cpu, pd: PROTECTION_DOMAIN });
    this.driver = new DmabufDriver({ adapter: this.adapter, events, cpu, faultEntry: odpCosts.faultEntry });
  }

  get refusal(): string {
    return this.driver.refusal;
  }

  register(cpu: Cpu, address: number, length: number): DmabufBuffer | RegionRefusal {
    const { api, device, scheme, metrics, counters } = this.machine;
    const region = this.driver.register({
      buffer: this.memory.exporterOf(address).buffer,
      api,
      device,
      firstPage: address / PAGE_SIZE,
      writable: this.writable,
      scheme: scheme(),
      onMapped: (on, duration, pages) => {
        metrics.recordMapLatency(on.now, picoseconds(duration));
        counters.add('odpPagesMapped', pages);
      },
      onUnmapped: (on, duration, pages) => {
        metrics.recordUnmapLatency(on.now, picoseconds(duration));
        counters.add('odpPagesInvalidated', pages);
      },
      onBookkeeping: (on, bytes) => {
        metrics.addBookkeeping(on.now, bytes);
      },
    });
    const error = typeof region === 'number' ? region : region.populate(cpu);
    if (typeof region !== 'number' && error === 0) {
      counters.add('regionsRegistered', 1);
      return { parts: [{ address, length, key: this.adapter.mkeyOf(region.key) }], region };
    }
    counters.add('regionsRefused', 1);
    if (typeof region === 'number') return { error, reason: describeErrno(error) };
    const reason = region.refusal === '' ? describeErrno(error) : region.refusal;
    this.driver.deregister(region);
    return { error, reason };
  }

  deregister(_cpu: Cpu, { region }: DmabufBuffer): void {
    this.driver.deregister(region);
  }

  release(): void {
    // every key went with its region
  }
}

interface BufferMovesOptions {
  readonly events: EventQueue;
  readonly cpu: Cpu;
  readonly counters: OdpMachine['counters'];
  readonly movePages: number;
  readonly moveEvery: Picoseconds;
}

/** Pages of the buffers move to the GPU and back, at random moments and places. */
class BufferMoves implements MemoryActivity, EventHandler {
  private readonly memory: ExportedBuffers;
  private readonly options: BufferMovesOptions;
  private readonly random: RandomStream;
  private pages = 0;
  private onStopped: (() => void) | null = null;

  constructor(memory: ExportedBuffers, options: BufferMovesOptions, random: RandomStream) {
    this.memory = memory;
    this.options = options;
    this.random = random;
  }

  start(_buffers: Float64Array, pages: number): void {
    this.pages = pages;
    this.schedule(this.pause());
  }

  stop(stopped: () => void): void {
    this.onStopped = stopped;
  }

  handleEvent(): void {
    const { cpu, events, movePages, counters } = this.options;
    if (this.onStopped !== null) {
      this.onStopped();
      return;
    }
    const exporter = this.memory.exporters[this.random.below(this.memory.exporters.length)]!;
    if (exporter.buffer.reservation.locked) {
      this.schedule(LOCK_WAIT);
      return;
    }
    cpu.begin(events.now);
    const count = Math.min(movePages, this.pages);
    const first = this.random.below(this.pages - count + 1);
    const target = this.random.below(2) === 0 ? 'local' : 'system';
    if (exporter.migrate(cpu, first, count, target) === 0) counters.add('pagesMoved', count);
    this.schedule(picoseconds(this.pause() + Math.max(0, cpu.now - events.now)));
  }

  private schedule(after: Picoseconds): void {
    const { events } = this.options;
    events.schedule(picoseconds(events.now + after), this, MOVE);
  }

  private pause(): Picoseconds {
    return picoseconds(Math.round(this.options.moveEvery * (0.5 + this.random.fraction())));
  }
}
