/**
 * For tests: an RDMA adapter under a switch beside one peer, with another peer behind the host bridge and one out of reach; and the host at the other end of its cable.
 */
import { FarHost } from '../../devices/rdmaNic/farHost.ts';
import { RdmaNic, type RdmaNicOptions } from '../../devices/rdmaNic/rdmaNic.ts';
import { kernelProfile } from '../../dma/kernels/profiles.ts';
import { PAGE_SIZE } from '../../memory/addresses.ts';
import { Metrics } from '../../metrics/metrics.ts';
import { Fabric } from '../../pcie/fabric.ts';
import type { Translator } from '../../pcie/translator.ts';
import type { SchemeName } from '../../schemes/scheme.ts';
import { createScheme } from '../../schemes/schemes.ts';
import { EventQueue } from '../../time/eventQueue.ts';
import { nanoseconds, picoseconds, type Picoseconds } from '../../time/picoseconds.ts';
import { CpuWork } from '../cpuWork.ts';
import { resolveRdmaCosts } from './rdmaCosts.ts';
import { RegionMachine, type RegionMachineOptions } from './testRegions.ts';

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
/** As testRegions.ts has them. */
const FIRST_PAGES: Readonly<Record<string, number>> = { near: 0x4_0000, far: 0x5_0000, alone: 0x6_0000 };

/** What stands between the adapter and memory: a switch that knows the near peer's bus addresses, and the IOMMU for all others. */
export class SwitchAndIommu implements Translator {
  physPage = 0;
  readyAt: Picoseconds = picoseconds(0);
  private readonly machine: RegionMachine;

  constructor(machine: RegionMachine) {
    this.machine = machine;
  }

  translate(sourceId: number, page: number, write: boolean, accesses: number, at: Picoseconds): boolean {
    const { iommu } = this.machine;
    const near = this.machine.nearPhysOf(page * PAGE_SIZE);
    if (near !== null) {
      this.readyAt = at;
      this.physPage = near / PAGE_SIZE;
      return true;
    }
    const allowed = iommu.translate(sourceId, page, write, accesses, at);
    this.physPage = iommu.physPage;
    this.readyAt = iommu.readyAt;
    return allowed;
  }
}

export interface RdmaHostsOptions extends Omit<RegionMachineOptions, 'timers'> {
  readonly scheme?: SchemeName;
}

/** What a workload asks of its machine, and the machine. */
export function connectHosts({ scheme = 'two_step', ...options }: RdmaHostsOptions = {}) {
  const events = new EventQueue();
  const machine = new RegionMachine({ cpus: 2, ...options, timers: events });
  const { memory, counters, api, device, frames, kinds, cpus, log } = machine;
  const fabric = new Fabric({ events, memory, translator: new SwitchAndIommu(machine), costs: COSTS, counters });
  const next = { ...FIRST_PAGES };
  return {
    machine,
    metrics: new Metrics(),
    nic: new RdmaNic(fabric.addRootPort(LINK).addFunction(device.sourceId), events, NIC),
    farHost: new FarHost({ events, link: LINK, costs: COSTS, nic: NIC }),
    api,
    device,
    memory,
    frames,
    pageKinds: kinds,
    events,
    work: new CpuWork(events, cpus),
    costs: resolveRdmaCosts(),
    scheme: () => createScheme(scheme, api, device, kernelProfile('7.2'), 'test'),
    peersPages: {
      take: (peer: string): number => {
        const page = next[peer]!;
        next[peer] = page + 1;
        return page;
      },
      giveBack: () => undefined,
    },
    counters,
    log,
  };
}
