/**
 * A process's pages go to a GPU and back by its copy engine while an adapter uses them on demand, behind one switch and through the host bridge
 * (Linux mm/migrate_device.c, drivers/pci/p2pdma.c, mm/hmm.c `hmm_dma_map_pfn`): the adapter follows, and every byte with it. Private pages have no
 * address for the adapter, so its fault brings them back to RAM.
 */
import { describe, expect, test } from 'vitest';
import { NicPageFaults } from '../../devices/nicPageFaults.ts';
import { AddressSpace } from '../../memory/addressSpace.ts';
import { HMM_PFN_P2PDMA_BUS } from '../../memory/hmmPfn.ts';
import { UserPages } from '../../memory/userPages.ts';
import { ACS_REQUEST_REDIRECT } from '../../pcie/portTree.ts';
import type { SchemeName } from '../../schemes/scheme.ts';
import { nanoseconds } from '../../time/picoseconds.ts';
import { ProcessPages } from '../gpu/processPages.ts';
import { GpuMachine, type GpuMachineOptions } from '../gpu/testGpuMachine.ts';
import { OdpDriver } from './odpDriver.ts';
import { OdpRegion } from './odpRegion.ts';

const PAGE = 4096;
const PAGES = 8;

class Bench {
  readonly gpu: GpuMachine;
  readonly mm: AddressSpace;
  readonly pages: ProcessPages;
  readonly nic: NicPageFaults;
  readonly driver: OdpDriver;
  readonly start: number;
  readonly key: number;
  readonly ended: boolean[] = [];

  constructor(options: GpuMachineOptions, scheme: SchemeName) {
    this.gpu = new GpuMachine(options);
    const { machine, events, nicPort, nicDevice, systemFrames, kinds, driver } = this.gpu;
    this.mm = new AddressSpace({ pages: new UserPages(machine.memory, systemFrames, kinds) });
    this.pages = new ProcessPages(driver, this.mm);
    const some = nanoseconds(300);
    this.nic = new NicPageFaults({
      port: nicPort,
      events,
      costs: { faultEvent: some, tableUpdate: some, tableUpdatePerEntry: nanoseconds(5), resume: some },
      pagesPerFault: 4,
    });
    this.driver = new OdpDriver({
      api: machine.api,
      device: nicDevice,
      adapter: this.nic,
      events,
      cpu: machine.cpu,
      scheme,
      costs: {
        faultEntry: some,
        rangeFaultPerPage: some,
        minorFault: some,
        majorFault: some,
        advise: some,
        createKey: some,
      },
    });
    this.start = this.mm.map({ pages: PAGES });
    this.key = this.driver.register(this.mm, this.start, PAGES, true);
  }

  begin(bytes: Uint8Array, write: boolean): void {
    this.nic.start(this.key, this.start * PAGE, bytes, write, (ok) => this.ended.push(ok));
  }

  /** What a message reads. */
  received(): Uint8Array {
    const bytes = new Uint8Array(PAGES * PAGE);
    this.begin(bytes, false);
    this.gpu.settle();
    return bytes;
  }

  /** What the process reads. */
  seen(): Uint8Array {
    const bytes = new Uint8Array(PAGES * PAGE);
    expect(this.mm.read(this.start * PAGE, bytes)).toBe(0);
    return bytes;
  }

  /** Pages that the adapter reaches without translation. */
  byBusAddress(): number {
    const region = this.driver.regionOf(this.key);
    if (!(region instanceof OdpRegion)) throw new Error('there is no such region');
    return region.umem.scheme.pfns.flags.filter((flags) => (flags & HMM_PFN_P2PDMA_BUS) !== 0).length;
  }

  move(first: number, count: number, to: 'coherent' | 'private' | 'ram'): void {
    const { pages, start } = this;
    const { cpu } = this.gpu.machine;
    cpu.begin(this.gpu.events.now);
    const run = to === 'ram' ? pages.toRam(cpu, start + first, count) : pages.toDevice(cpu, start + first, count, to);
    if (typeof run === 'number') throw new Error(`the pages do not move: ${run}`);
    pages.wait(cpu, run);
  }
}

/** Quicker than a comparison that could say where. */
function same(left: Uint8Array, right: Uint8Array): boolean {
  return left.every((byte, index) => byte === right[index]);
}

function pattern(seed: number): Uint8Array {
  return Uint8Array.from({ length: PAGES * PAGE }, (_, index) => (index * 7 + seed * 13 + (index >> 8)) & 0xff);
}

const PLACES: readonly [string, GpuMachineOptions, boolean][] = [
  ['behind one switch', { placement: 'same switch' }, true],
  ['behind one switch with ACS', { placement: 'same switch', acs: ACS_REQUEST_REDIRECT }, false],
  ['behind two root ports', { placement: 'two root ports' }, false],
];

describe.each(PLACES)('a GPU %s', (_where, options, byBus) => {
  test.each(['two_step_per_page', 'two_step', 'map_sg', 'map_phys', 'uniform_split', 'hybrid', 'iova_export'] as const)(
    '%s: messages before, during and after the move',
    (scheme) => {
      const bench = new Bench(options, scheme);
      bench.begin(pattern(1), true);
      bench.gpu.settle();
      bench.move(2, 3, 'coherent');
      expect(bench.pages.kindOf(bench.start + 2)).toBe('coherent');
      expect(same(bench.received(), pattern(1))).toBe(true);
      bench.begin(pattern(2), true);
      bench.move(0, 8, 'coherent');
      bench.gpu.settle();
      expect(same(bench.seen(), pattern(2))).toBe(true);
      expect(same(bench.received(), pattern(2))).toBe(true);
      // what a switch routes needs no translation
      if (scheme !== 'map_sg') expect(bench.byBusAddress()).toBe(byBus ? PAGES : 0);
      bench.begin(pattern(3), true);
      bench.move(0, 8, 'ram');
      bench.gpu.settle();
      expect(same(bench.seen(), pattern(3))).toBe(true);
      expect(same(bench.received(), pattern(3))).toBe(true);
      expect(bench.ended).toEqual([true, true, true, true, true, true]);
      bench.driver.deregister(bench.key);
    },
  );

  test('private pages come back by the adapter’s fault', () => {
    const bench = new Bench(options, 'two_step_per_page');
    bench.begin(pattern(1), true);
    bench.gpu.settle();
    bench.move(0, 4, 'private');
    expect(bench.pages.kindOf(bench.start)).toBe('private');
    expect(same(bench.received(), pattern(1))).toBe(true);
    expect(bench.pages.kindOf(bench.start)).toBe('elsewhere');
    expect(bench.ended).toEqual([true, true]);
  });
});
