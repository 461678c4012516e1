/**
 * The DMA API over an IOMMU whose walkers do not look into CPU caches (VT-d ECAP.C = 0; SMMU without IDR0.COHACC): devices reach what
 * was mapped and nothing else, and every cleaned cache line is paid for.
 */
import { describe, expect, it } from 'vitest';
import { RandomStream } from '../time/random.ts';
import { KERNEL_PROFILE_NAMES } from './kernels/profiles.ts';
import { ScatterList } from './scatterList.ts';
import { TestMachine } from './testMachine.ts';

const PAGE = 4096;
const SOURCE_ID = 0x18;
const LINE_PICOSECONDS = 100_000;

const MACHINES = [
  ...KERNEL_PROFILE_NAMES.map((profile) => ({ profile, vendor: 'vtd' as const, scalableMode: false })),
  { profile: '7.3' as const, vendor: 'vtd' as const, scalableMode: true },
  { profile: '6.12' as const, vendor: 'smmuv3' as const, scalableMode: false },
];

/** The same calls on a machine: maps and unmaps of pages and lists in a random order. Returns the time that they took. */
function work(machine: TestMachine): number {
  const { api, cpu, device, iommu } = machine;
  const random = new RandomStream(3).fork('cleaning');
  const live: { address: number; phys: number; size: number }[] = [];
  const start = cpu.now;
  for (let call = 0; call < 400; call += 1) {
    if (live.length < 30 || random.below(2) === 0) {
      const size = (1 + random.below(40)) * PAGE;
      const phys = 0x1000_0000 + random.below(2000) * PAGE;
      const address = api.dmaMapPhys(cpu, device, phys, size, 0, 0);
      live.push({ address, phys, size });
    } else {
      const [{ address, size }] = live.splice(random.below(live.length), 1) as [(typeof live)[number]];
      api.dmaUnmapPhys(cpu, device, address, size, 0, 0);
      expect(iommu.translateFunctional(SOURCE_ID, address / PAGE, true)).toBe(false);
    }
    for (const { address, phys, size } of live.slice(-3)) {
      expect(iommu.translateFunctional(SOURCE_ID, (address + size) / PAGE - 1, true)).toBe(true);
      expect(iommu.physPage).toBe((phys + size) / PAGE - 1);
    }
  }
  const list = new ScatterList(20);
  for (let entry = 0; entry < 20; entry += 1) list.add(0x2000_0000 + entry * 5 * PAGE, PAGE);
  expect(api.dmaMapSg(cpu, device, list, 2, 0)).toBeGreaterThan(0);
  api.dmaUnmapSg(cpu, device, list, 2, 0);
  return cpu.now - start;
}

describe('the DMA API over walkers that do not look into caches', () => {
  it.each(MACHINES)('cleans what it writes before the device may use it, and pays: $profile $vendor', (options) => {
    const coherent = new TestMachine(options);
    const cleaning = new TestMachine({ ...options, coherent: false });
    const extra = work(cleaning) - work(coherent);
    expect(coherent.counters.get('cacheLinesCleaned')).toBe(0);
    expect(cleaning.counters.get('cacheLinesCleaned')).toBeGreaterThan(400);
    expect(cleaning.counters.get('pteWrites')).toBe(coherent.counters.get('pteWrites'));
    expect(extra).toBe(cleaning.counters.get('cacheLinesCleaned') * LINE_PICOSECONDS);
  });
});
