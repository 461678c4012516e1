/**
 * Peer to peer with a GPU wherever it stands: what Linux decides (drivers/pci/p2pdma.c `calc_map_type_and_dist`), which links the TLPs take
 * (PCI Express Base Specification 6.12.3), and whose bytes a NIC and an NVMe drive reach.
 */
import { describe, expect, test } from 'vitest';
import { DMA_ATTR_MMIO, DMA_BIDIRECTIONAL } from '../../dma/attributes.ts';
import { PAGE_SIZE } from '../../memory/addresses.ts';
import type { CpuIdentity } from '../../pcie/p2pdmaDistance.ts';
import {
  ACS_COMPLETION_REDIRECT,
  ACS_REQUEST_REDIRECT,
  ACS_SOURCE_VALIDATION,
  ACS_UPSTREAM_FORWARDING,
  type HostBridge,
} from '../../pcie/portTree.ts';
import { GpuMachine, SKYLAKE, type Placement } from './testGpuMachine.ts';

const INTEL: CpuIdentity = { vendor: 'intel', family: 6 };
const ZEN: CpuIdentity = { vendor: 'amd', family: 0x17 };
const REDIRECT = ACS_SOURCE_VALIDATION | ACS_REQUEST_REDIRECT | ACS_COMPLETION_REDIRECT | ACS_UPSTREAM_FORWARDING;
const HASWELL = { vendorId: 0x8086, deviceId: 0x2f00 };
const UNKNOWN = { vendorId: 0x8086, deviceId: 0x1234 };

type Listed = 'any bridge' | 'one bridge' | 'unlisted' | 'Zen';
const BRIDGES: Readonly<Record<Listed, { identity: HostBridge['identity']; cpu: CpuIdentity }>> = {
  'any bridge': { identity: SKYLAKE, cpu: INTEL },
  'one bridge': { identity: HASWELL, cpu: INTEL },
  unlisted: { identity: UNKNOWN, cpu: INTEL },
  Zen: { identity: UNKNOWN, cpu: ZEN },
};
const PLACEMENTS: readonly Placement[] = ['same switch', 'nested switches', 'two root ports', 'two sockets'];
const LISTS: readonly Listed[] = ['any bridge', 'one bridge', 'unlisted', 'Zen'];

/** The kernel's rule, written from its documentation: one switch without redirection, or a host bridge that is known to forward. */
function decision(placement: Placement, redirect: boolean, listed: Listed): string {
  const common = placement === 'same switch' || placement === 'nested switches';
  if (common && !redirect) return 'bus_addr';
  if (listed === 'unlisted') return 'not_supported';
  return listed === 'one bridge' && placement === 'two sockets' ? 'not_supported' : 'thru_host_bridge';
}

const CASES = PLACEMENTS.flatMap((placement) =>
  [false, true].flatMap((redirect) => LISTS.map((listed) => ({ placement, redirect, listed }))),
);

function machineOf(placement: Placement, redirect: boolean, listed: Listed): GpuMachine {
  return new GpuMachine({ placement, acs: redirect ? REDIRECT : 0, ...BRIDGES[listed] });
}

/** As a driver maps a page of the GPU for a client: the bus address, or null where Linux has no way. */
function map(machine: GpuMachine, client: 'nic' | 'drive', page: number): number | null {
  const { machine: host, driver } = machine;
  const device = client === 'nic' ? machine.nicDevice : machine.driveDevice;
  const phys = page * PAGE_SIZE;
  switch (machine.p2pdma.mapType(driver.provider, device.sourceId)) {
    case 'bus_addr':
      return phys + driver.provider.busOffset;
    case 'thru_host_bridge':
      return host.api.dmaMapPhys(host.cpu, device, phys, PAGE_SIZE, DMA_BIDIRECTIONAL, DMA_ATTR_MMIO);
    default:
      return null;
  }
}

const pattern = (seed: number): Uint8Array => Uint8Array.from({ length: PAGE_SIZE }, (_, at) => at * 7 + seed * 13);
const words = (bytes: Uint8Array): Uint32Array<ArrayBuffer> => new Uint32Array(bytes.slice().buffer);

describe.each(CASES)('$placement, redirect $redirect, host bridge: $listed', ({ placement, redirect, listed }) => {
  const expected = decision(placement, redirect, listed);

  test(`Linux decides ${expected}, and the TLPs of a NIC go there`, () => {
    const machine = machineOf(placement, redirect, listed);
    const { driver, gpu, taken } = machine;
    expect(machine.p2pdma.mapType(driver.provider, machine.nicDevice.sourceId)).toBe(expected);
    const page = driver.blocks.allocatePage();
    const address = map(machine, 'nic', page);
    if (address === null) return;
    const offset = (page - gpu.memory.firstPage) * PAGE_SIZE;
    taken.length = 0;
    expect(machine.nicWrites(address, pattern(1))).toBe(true);
    const inside = new Uint8Array(PAGE_SIZE);
    gpu.memory.read(offset, inside, 0, PAGE_SIZE, 0);
    expect(inside).toEqual(pattern(1));
    gpu.memory.write(offset, pattern(2), 0, PAGE_SIZE, 0);
    expect(machine.nicReads(address, PAGE_SIZE)).toEqual(pattern(2));
    const throughRoot = taken.some((link) => link.startsWith('root'));
    expect(throughRoot).toBe(expected === 'thru_host_bridge');
    expect(gpu.memory.bytesWritten).toBe(2 * PAGE_SIZE);
  });

  test('an NVMe drive moves its blocks into the GPU and out of it, with no byte in RAM', () => {
    const machine = machineOf(placement, redirect, listed);
    const { driver, gpu, drive } = machine;
    const page = driver.blocks.allocatePage();
    const address = map(machine, 'drive', page);
    expect(address === null).toBe(expected === 'not_supported');
    if (address === null) return;
    const offset = (page - gpu.memory.firstPage) * PAGE_SIZE;
    drive.media.write(64, 8, words(pattern(3)));
    const touched = machine.machine.memory.touchedPages;
    expect(machine.driveMoves(2, 64, address)).toBe(0);
    const inside = new Uint8Array(PAGE_SIZE);
    gpu.memory.read(offset, inside, 0, PAGE_SIZE, 0);
    expect(inside).toEqual(pattern(3));
    gpu.memory.write(offset, pattern(4), 0, PAGE_SIZE, 0);
    expect(machine.driveMoves(1, 128, address)).toBe(0);
    const stored = new Uint32Array(PAGE_SIZE / 4);
    drive.media.read(128, 8, stored);
    expect(stored).toEqual(words(pattern(4)));
    // the GPU's page, and the two of the queues
    expect(machine.machine.memory.touchedPages - touched).toBeLessThanOrEqual(3);
  });
});

test('a bus address that Linux would not give is stopped by redirection at the IOMMU, and the bytes stay', () => {
  const machine = machineOf('same switch', true, 'unlisted');
  const { driver, gpu } = machine;
  const page = driver.blocks.allocatePage();
  gpu.memory.write((page - gpu.memory.firstPage) * PAGE_SIZE, pattern(5), 0, PAGE_SIZE, 0);
  expect(machine.nicWrites(page * PAGE_SIZE, pattern(6))).toBe(false);
  expect(machine.machine.bytes(page * PAGE_SIZE, PAGE_SIZE)).toEqual(pattern(5));
});
