import { describe, expect, it } from 'vitest';
import { ReceiveNic } from '../../devices/receiveNic.ts';
import { TestMachine } from '../../dma/testMachine.ts';
import { ReceiveRing } from '../../drivers/receiveRing.ts';
import { Fabric } from '../../pcie/fabric.ts';
import { EventQueue } from '../../time/eventQueue.ts';
import { picoseconds } from '../../time/picoseconds.ts';
import { RandomStream } from '../../time/random.ts';
import { ReceiveFlows, type ReceiveFlowsOptions } from '../../workloads/receiveFlows.ts';

const NONE = picoseconds(0);
const CORES = 2;
const HELD = 4;

function receive(packets: number, changes: Partial<ReceiveFlowsOptions> = {}) {
  const machine = new TestMachine({ cpus: CORES, traced: false });
  const { memory, frames, api, device, cpus, counters, iommu } = machine;
  const events = new EventQueue();
  const options: ReceiveFlowsOptions = {
    flows: 4,
    packetBytes: 4110,
    headerBytes: 66,
    trainPackets: 1,
    pollBudget: 64,
    mergedPackets: 16,
    acknowledgementBytes: 66,
    packetCost: picoseconds(100_000),
    copyCost: picoseconds(100_000),
    acknowledgementCost: picoseconds(100_000),
    turnWait: picoseconds(1_000_000),
    ...changes,
  };
  const flows = new ReceiveFlows(events, new RandomStream(7), options, HELD, 0x5000);
  const costs = { rootComplex: NONE, memoryRead: NONE, mmioWrite: NONE };
  const port = new Fabric({ events, memory, counters, translator: iommu, costs })
    .addRootPort({ generation: 3, lanes: 16, maxPayloadSize: 256, maxReadRequestSize: 512, propagation: NONE })
    .addFunction(device.sourceId);
  const nicOptions = {
    pagesPerDescriptor: 64,
    strideBytes: 256,
    packetInterval: picoseconds(500_000),
    packetsHeld: HELD,
    interruptPackets: 32,
    interruptDelay: picoseconds(100_000_000),
  };
  const nic = new ReceiveNic(port, events, nicOptions, flows);
  const rings = cpus.map((cpu) => {
    const ringOptions = {
      api,
      device,
      memory,
      frames,
      nic,
      descriptors: 8,
      pagesPerDescriptor: 64,
      cachedPages: 256,
      contiguous: false,
      completionEntries: 4096,
      sendEntries: 64,
      sendBatch: 1,
    };
    return new ReceiveRing(cpu, ringOptions, (on, flow, pages) => {
      flows.take(on, flow, pages);
    });
  });
  flows.start(rings, cpus);
  nic.connect(flows);
  while (flows.packets < packets) if (!events.step()) throw new Error('the flows have stopped');
  flows.stop();
  while (events.step());
  return { flows, nic, cpus, counters };
}

describe('receiving flows', () => {
  it('take every packet that found a descriptor, and count its data', () => {
    const { flows, nic, cpus } = receive(2_000);
    expect(nic.refused).toBe(0);
    expect(flows.packets).toBe(nic.packets);
    expect(flows.dataBytes).toBe(flows.packets * (4110 - 66));
    for (const cpu of cpus) expect(cpu.now).toBeGreaterThan(0);
  });

  it('acknowledge more often when more flows share a poll', () => {
    const share = (flowCount: number): number => {
      const { flows } = receive(2_000, { flows: flowCount });
      return flows.acknowledgements / flows.packets;
    };
    const few = share(2);
    expect(few).toBeGreaterThan(1 / 17);
    expect(few).toBeLessThan(1 / 8);
    expect(share(32)).toBeGreaterThan(3 * few);
  });

  it('leave pages mapped while applications read soon, and not when they wait long', () => {
    const unmaps = (turnWait: number): number =>
      receive(6_000, { turnWait: picoseconds(turnWait), flows: 16 }).counters.get('iommuUnmaps');
    expect(unmaps(2e9)).toBeGreaterThan(unmaps(1e6) + 2_000);
  });
});
