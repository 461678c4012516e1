/**
 * For tests: a machine of two host bridges with a NIC-like DMA engine, an NVMe drive and a GPU with its driver, placed as the test says,
 * behind an IOMMU. Every link writes down what it carries.
 */
import { EduDevice } from '../../devices/eduDevice.ts';
import { addGpuBar, Gpu } from '../../devices/gpu/gpu.ts';
import { gpuParameters, type GpuParameters } from '../../devices/gpu/gpuParameters.ts';
import { NvmeDrive } from '../../devices/nvmeDrive.ts';
import { createDmaDevice, type DmaDevice, type DomainType } from '../../dma/device.ts';
import { TestMachine } from '../../dma/testMachine.ts';
import { dmaAddr, PAGE_SIZE } from '../../memory/addresses.ts';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PageKinds } from '../../memory/pageKinds.ts';
import { AddressWindows } from '../../pcie/addressWindows.ts';
import type { DmaPort } from '../../pcie/dmaPort.ts';
import { Fabric, type FabricPort, type FabricSwitch } from '../../pcie/fabric.ts';
import { P2pdmaDistances, type CpuIdentity } from '../../pcie/p2pdmaDistance.ts';
import { PeerRoute } from '../../pcie/peerRoute.ts';
import { PortTree, type HostBridge, type PortNode } from '../../pcie/portTree.ts';
import { EventQueue } from '../../time/eventQueue.ts';
import { nanoseconds } from '../../time/picoseconds.ts';
import { GpuDriver } from './gpuDriver.ts';

export type Placement = 'same switch' | 'nested switches' | 'two root ports' | 'two sockets';

export interface GpuMachineOptions {
  readonly placement?: Placement;
  /** ACS bits of all root ports and downstream ports. */
  readonly acs?: number;
  /** Of both host bridges; null: no list can name them. */
  readonly identity?: HostBridge['identity'];
  readonly cpu?: CpuIdentity;
  readonly domain?: DomainType;
  readonly gpuPages?: number;
  readonly parameters?: Partial<GpuParameters>;
}

const LINK = { generation: 4, lanes: 8, maxPayloadSize: 256, maxReadRequestSize: 512, propagation: nanoseconds(20) };
const COSTS = { rootComplex: nanoseconds(90), memoryRead: nanoseconds(65), mmioWrite: nanoseconds(250) };
const APERTURES = [
  { start: 0xe000_0000, end: 0xefff_ffff },
  { start: 0xc000_0000, end: 0xcfff_ffff },
] as const;
export const SKYLAKE = { vendorId: 0x8086, deviceId: 0x2020 };
const QUEUE_ENTRIES = 16;
export const SYSTEM_PAGES = 0x4000;

export class GpuMachine {
  readonly events = new EventQueue();
  readonly kinds = new PageKinds();
  readonly tree = new PortTree();
  readonly machine: TestMachine;
  readonly gpu: Gpu;
  readonly driver: GpuDriver;
  readonly nic: EduDevice;
  readonly nicPort: DmaPort;
  /** RAM of buffers and processes, apart from that of page tables. */
  readonly systemFrames: FrameAllocator;
  readonly nicDevice: DmaDevice;
  readonly drive: NvmeDrive;
  readonly driveDevice: DmaDevice;
  readonly gpuDevice: DmaDevice;
  /** `root 0 up`, in the order in which TLPs took them. */
  readonly taken: string[] = [];
  private readonly reserved = APERTURES;
  private readonly domain: DomainType;
  private readonly completions: number[] = [];
  private sqTail = 0;
  private queuePhys = 0;

  constructor(options: GpuMachineOptions = {}) {
    const { placement = 'same switch', acs = 0, identity = SKYLAKE, gpuPages = 1024 } = options;
    const { tree, events, kinds } = this;
    this.domain = options.domain ?? 'strict';
    const p2pdma = new P2pdmaDistances(tree, options.cpu ?? { vendor: 'intel', family: 6 });
    this.machine = new TestMachine({ pageKinds: kinds, p2pdma, timers: events });
    const { memory, iommu, counters, api, log } = this.machine;
    this.systemFrames = new FrameAllocator(memory, 0x1000, SYSTEM_PAGES);
    const frames = this.systemFrames;
    const bridges: HostBridge[] = [0, 1].map((id) => ({ name: `pci0000:${id === 0 ? '00' : '80'}`, identity }));
    const fabrics = bridges.map(() => new Fabric({ events, memory, translator: iommu, costs: COSTS, counters }));
    const windows = new AddressWindows(tree);
    let bus = 1;
    const root = (socket: number, device: number): [PortNode, FabricPort] => {
      const node = tree.addToRoot(bridges[socket]!, 'root_port', (socket << 15) | (device << 3), acs);
      const port = fabrics[socket]!.addRootPort(LINK, node);
      this.watch(`root ${node.name.slice(5)}`, port);
      return [node, port];
    };
    const within = (node: PortNode, port: FabricPort): [PortNode, FabricSwitch] => {
      const inner = tree.addBelow(node, 'switch_upstream', (node.sourceId & 0x8000) | (bus++ << 8));
      return [inner, port.addSwitch()];
    };
    const down = (inner: PortNode, switched: FabricSwitch, device: number): [PortNode, FabricPort] => {
      const id = (inner.sourceId & 0x8000) | ((0x40 + (inner.sourceId >> 8)) << 8) | (device << 3);
      const node = tree.addBelow(inner, 'switch_downstream', id, acs);
      const port = switched.addDownstreamPort(LINK, node);
      this.watch(`port ${node.name.slice(5)}`, port);
      return [node, port];
    };
    const function_ = (node: PortNode, port: FabricPort): [PortNode, DmaPort] => {
      const endpoint = tree.addBelow(node, 'endpoint', (node.sourceId & 0x8000) | ((0x20 + bus++) << 8));
      return [endpoint, port.addFunction(endpoint.sourceId, new PeerRoute(tree, endpoint))];
    };
    const [first, firstPort] = root(0, 1);
    const [inner, switched] = within(first, firstPort);
    const [nicNode, nicPort] = function_(...down(inner, switched, 0));
    const [driveNode, drivePort] = function_(...down(inner, switched, 1));
    let gpuPlace: [PortNode, FabricPort];
    if (placement === 'same switch') gpuPlace = down(inner, switched, 2);
    else if (placement === 'nested switches') gpuPlace = down(...within(...down(inner, switched, 2)), 0);
    else gpuPlace = root(placement === 'two sockets' ? 1 : 0, 2);
    const [gpuNode, gpuPort] = function_(...gpuPlace);
    const bar = addGpuBar(windows, gpuNode, gpuPages);
    windows.assign(new Map(bridges.map((bridge, at) => [bridge, { below4G: APERTURES[at]!, above4G: null }])));
    this.nicDevice = this.attach(nicNode);
    this.driveDevice = this.attach(driveNode);
    this.gpuDevice = this.attach(gpuNode);
    const firstPage = bar.register.address / PAGE_SIZE;
    this.gpu = new Gpu(
      { port: gpuPort, events, memory },
      { node: gpuNode, firstPage, pages: gpuPages, parameters: gpuParameters(options.parameters) },
    );
    this.driver = new GpuDriver(this.gpu, this.gpuDevice, { api, memory, frames, tree, kinds, log });
    this.nicPort = nicPort;
    this.nic = new EduDevice(nicPort);
    this.drive = new NvmeDrive(
      { port: drivePort, events, counters, log },
      {
        name: 'nvme0',
        capacityBytes: 2 ** 30,
        maxQueueEntries: 64,
        maxTransferBytes: 2 ** 20,
        sgl: true,
        commandSlots: 8,
        transferBuffers: 8,
        media: {
          channels: 8,
          readLatency: nanoseconds(1000),
          writeLatency: nanoseconds(1000),
          maxReadBytesPerSecond: 7e9,
          maxWriteBytesPerSecond: 7e9,
          maxIops: 1e6,
        },
      },
    );
    this.createQueues();
  }

  get p2pdma(): P2pdmaDistances {
    return this.machine.api.p2pdma as P2pdmaDistances;
  }

  settle(): void {
    while (this.events.step());
  }

  /** The NIC-like device reads `bytes` at a bus address; null: refused. */
  nicReads(address: number, bytes: number): Uint8Array | null {
    this.nic.fetch(address, bytes);
    this.settle();
    return this.nic.refused ? null : this.nic.buffer.slice(0, bytes);
  }

  /** It writes; false: refused. */
  nicWrites(address: number, bytes: Uint8Array): boolean {
    this.nic.buffer.set(bytes);
    this.nic.store(address, bytes.length);
    this.settle();
    return !this.nic.refused;
  }

  /** A command of the drive, over one page by PRP1: its status. `opcode`: 1 write, 2 read (NVM Command Set 3.2). */
  driveMoves(opcode: 1 | 2, lba: number, address: number): number {
    const entry = new Uint32Array(16);
    entry.set([opcode | (7 << 16), 1]);
    entry.set([address >>> 0, Math.floor(address / 2 ** 32)], 6);
    entry.set([lba, 0, PAGE_SIZE / 512 - 1], 10);
    const { memory } = this.machine;
    memory.writeBytes(this.queuePhys + this.sqTail * 64, new Uint8Array(entry.buffer), 0, 64);
    this.sqTail = (this.sqTail + 1) % QUEUE_ENTRIES;
    const before = this.completions.length;
    this.drive.writeSubmissionDoorbell(1, this.sqTail, this.events.now);
    this.settle();
    this.drive.writeCompletionDoorbell(1, this.completions.length % QUEUE_ENTRIES, this.events.now);
    this.settle();
    if (this.completions.length !== before + 1) throw new Error('the drive has not completed its command');
    return this.completions[before]!;
  }

  private createQueues(): void {
    const { api, frames, cpu, memory } = this.machine;
    const page = frames.allocateContiguous(2);
    this.queuePhys = page * PAGE_SIZE;
    const [sq, cq] = [0, 1].map((index) =>
      dmaAddr(api.dmaMapPhys(cpu, this.driveDevice, (page + index) * PAGE_SIZE, PAGE_SIZE, 0, 0)),
    ) as [ReturnType<typeof dmaAddr>, ReturnType<typeof dmaAddr>];
    const interrupt = {
      handleEvent: () => {
        const place = this.completions.length % QUEUE_ENTRIES;
        this.completions.push((memory.readWord(page + 1, place * 4 + 3) >>> 17) & 0xff);
      },
    };
    this.drive.createCompletionQueue(1, cq, QUEUE_ENTRIES, interrupt, 0);
    this.drive.createSubmissionQueue(1, sq, QUEUE_ENTRIES, 1);
  }

  private attach(node: PortNode): DmaDevice {
    const { sourceId, name } = node;
    const device = createDmaDevice({ name, sourceId, reservedRegions: this.reserved });
    this.machine.api.attach(device, this.domain);
    return device;
  }

  private watch(name: string, port: FabricPort): void {
    for (const [way, direction] of [
      ['up', port.link.upstream],
      ['down', port.link.downstream],
    ] as const) {
      const reserve = direction.reserve.bind(direction);
      direction.reserve = (bytes, at) => {
        this.taken.push(`${name} ${way}`);
        return reserve(bytes, at);
      };
    }
  }
}
