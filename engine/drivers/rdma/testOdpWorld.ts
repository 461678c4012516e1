/**
 * For tests: a process whose memory an adapter uses on demand while everything happens to it at random moments: pages move to other frames, to a
 * peer and back, are swapped out, shared with a child and copied, protected and taken away, in the middle of faults and transfers. The program
 * itself behaves: memory that a message uses it leaves alone until the message has ended. So every byte is known at every end of a message.
 */
import { NicPageFaults } from '../../devices/nicPageFaults.ts';
import { TestMachine } from '../../dma/testMachine.ts';
import { dmaAddr } from '../../memory/addresses.ts';
import { AddressSpace } from '../../memory/addressSpace.ts';
import { PageKinds, type P2pdmaProvider } from '../../memory/pageKinds.ts';
import {
  beginMigration,
  forkAddressSpace,
  migratePage,
  movePageToPeer,
  movePageToRam,
} from '../../memory/pageMovement.ts';
import { swapOut } from '../../memory/swapArea.ts';
import { UserPages } from '../../memory/userPages.ts';
import { Fabric } from '../../pcie/fabric.ts';
import type { DmaPort } from '../../pcie/dmaPort.ts';
import type { SchemeName } from '../../schemes/scheme.ts';
import { EventQueue, type EventHandler } from '../../time/eventQueue.ts';
import { nanoseconds, picoseconds, PICOSECONDS_PER_NANOSECOND } from '../../time/picoseconds.ts';
import { RandomStream } from '../../time/random.ts';
import { OdpDriver, type OdpOptions } from './odpDriver.ts';

const PAGE = 4096;
const PEER_PAGE = 0x8_0000;
const peer: P2pdmaProvider = { name: '0000:04:00.0', busOffset: 0, sourceId: 0x400 };

export interface OdpWorldOptions {
  readonly seed: number;
  readonly scheme?: SchemeName;
  readonly implicit?: boolean;
  readonly cachingMode?: boolean;
  /** The device reads at random addresses where nothing is mapped, as a broken one does. */
  readonly strays?: boolean;
  readonly driver?: new (options: OdpOptions) => OdpDriver;
  /** Before the region is registered. */
  readonly prepare?: (machine: TestMachine) => void;
}

/** Pages that a message uses. */
interface Message {
  readonly first: number;
  readonly pages: number;
}

const OPERATION = 0;
const STRAY_ENDS = 1;

export class OdpWorld implements EventHandler {
  static readonly pages = 40;
  readonly machine: TestMachine;
  readonly events = new EventQueue();
  readonly mm: AddressSpace;
  readonly nic: NicPageFaults;
  readonly driver: OdpDriver;
  readonly key: number;
  readonly start: number;
  /** What went wrong, in words; empty in a world where every step is taken. */
  readonly wrong: string[] = [];
  messages = 0;
  /** Changes of the process's memory that took place, and those in the middle of which a message was under way. */
  changes = 0;
  overtaking = 0;
  readonly done = new Map<string, number>();
  private readonly model = new Uint8Array(OdpWorld.pages * PAGE);
  private readonly random: RandomStream;
  private readonly port: DmaPort;
  private readonly busy = new Set<Message>();
  private readonly children: { mm: AddressSpace; content: Uint8Array; known: Set<number> }[] = [];
  private readonly strays: boolean;
  private readonly places: { address: number; size: number };
  private nextPeerPage = 0;
  private left = 0;

  constructor(options: OdpWorldOptions) {
    const { seed, scheme = 'two_step_per_page', implicit = false, cachingMode = false, strays = false } = options;
    this.random = new RandomStream(seed);
    this.strays = strays;
    const pageKinds = new PageKinds();
    pageKinds.setRange(PEER_PAGE, 4096, peer);
    this.machine = new TestMachine({
      traced: false,
      profile: '7.3',
      cachingMode,
      pageKinds,
      p2pdma: { mapType: () => 'thru_host_bridge' },
      device: { maxSegmentSize: 2 ** 32 - 1 },
    });
    const { memory, frames, iommu, counters, device, api, cpus } = this.machine;
    options.prepare?.(this.machine);
    this.places = { address: 0, size: 0 };
    const reserve = api.dmaIovaTryAlloc.bind(api);
    api.dmaIovaTryAlloc = (cpu, owner, state, phys, size) => {
      const ret = reserve(cpu, owner, state, phys, size);
      this.places.address = state.address;
      this.places.size = size;
      return ret;
    };
    this.mm = new AddressSpace({ pages: new UserPages(memory, frames, pageKinds) });
    const { events } = this;
    const none = nanoseconds(0);
    const costs = { rootComplex: nanoseconds(90), memoryRead: nanoseconds(100), mmioWrite: none };
    const fabric = new Fabric({ events, memory, translator: iommu, costs, counters });
    const link = { generation: 3, lanes: 8, maxPayloadSize: 256, maxReadRequestSize: 512, propagation: none };
    const rootPort = fabric.addRootPort(link);
    this.port = rootPort.addFunction(device.sourceId);
    this.nic = new NicPageFaults({
      port: this.port,
      events,
      costs: {
        faultEvent: nanoseconds(200),
        tableUpdate: nanoseconds(150),
        tableUpdatePerEntry: nanoseconds(5),
        resume: nanoseconds(100),
      },
      pagesPerFault: 4,
      pagesHinted: seed % 2 === 0 ? 3 : 0,
    });
    const Driver = options.driver ?? OdpDriver;
    this.driver = new Driver({
      api,
      device,
      adapter: this.nic,
      events,
      cpu: cpus[0]!,
      scheme,
      childPages: 16,
      costs: {
        faultEntry: nanoseconds(100),
        rangeFaultPerPage: nanoseconds(200),
        minorFault: nanoseconds(100),
        majorFault: nanoseconds(300),
        advise: nanoseconds(50),
        createKey: nanoseconds(200),
      },
    });
    this.start = this.mm.map({ pages: OdpWorld.pages });
    this.key = implicit
      ? this.driver.registerImplicit(this.mm, true)
      : this.driver.register(this.mm, this.start, OdpWorld.pages, true);
  }

  /** So many random operations, and everything that follows from them. */
  run(operations: number): void {
    this.left = operations;
    this.schedule(10);
    while (this.events.step());
    for (const child of this.children.splice(0)) this.endChild(child);
    this.checkCpu(0, OdpWorld.pages, 'at the end');
    if (this.nic.underWay > 0) this.wrong.push('a message never ended');
  }

  /** What is still held after the region and the memory are gone; all zeros when nothing is. */
  release(): { pages: number; intervals: number; swapped: number; ranges: number } {
    const { driver, mm, machine } = this;
    driver.deregister(this.key);
    while (this.events.step());
    mm.unmap(this.start, OdpWorld.pages);
    const { counters } = machine;
    const taken = counters.get('iovaAllocFast') + counters.get('iovaAllocSlow');
    return {
      pages: mm.pages.held,
      intervals: mm.notifiers.intervals.length,
      swapped: mm.swap.used,
      ranges: taken - counters.get('iovaFree'),
    };
  }

  handleEvent(kind: number, _argument: number): void {
    if (kind === STRAY_ENDS) return;
    // who changes a process's memory holds its lock
    if (this.mm.notifiers.active > 0) {
      this.schedule(50);
      return;
    }
    this.left -= 1;
    this.operate();
    // mostly in quick succession, and now and then all that is under way may end
    if (this.left > 0) this.schedule(1 + this.random.below(this.random.below(8) === 0 ? 20_000 : 1500));
  }

  private schedule(afterNanoseconds: number): void {
    const at = this.events.now + afterNanoseconds * PICOSECONDS_PER_NANOSECOND;
    this.events.schedule(picoseconds(at), this, OPERATION);
  }

  private operate(): void {
    const page = this.random.below(OdpWorld.pages);
    const pages = Math.min(OdpWorld.pages - page, 1 + this.random.below(6));
    const at = this.start + page;
    switch (this.random.below(14)) {
      case 0:
      case 1:
      case 2:
        this.startMessage(page, pages, true);
        break;
      case 3:
      case 4:
        this.startMessage(page, pages, false);
        break;
      case 5:
        if (!this.inUse(page, pages)) this.cpuWrites(page, pages);
        break;
      case 6:
        this.change('migrate', () => migratePage(this.mm, at));
        break;
      case 7:
        this.change('slow migration', () => this.migrateSlowly(at));
        break;
      case 8:
        this.change('to the peer', () => movePageToPeer(this.mm, at, this.freePeerPage()));
        break;
      case 9:
        this.change('to RAM', () => movePageToRam(this.mm, at));
        break;
      case 10:
        this.change('swap', () => swapOut(this.mm, at));
        break;
      case 11:
        this.fork();
        break;
      case 12:
        this.protect(page, pages);
        break;
      case 13:
        this.discardOrAdvise(page, pages);
        break;
    }
    if (this.strays) this.stray();
  }

  private startMessage(page: number, pages: number, write: boolean): void {
    if (this.inUse(page, pages)) return;
    const message = { first: page, pages };
    const offset = this.random.below(PAGE);
    const from = page * PAGE + offset;
    const length = pages * PAGE - offset - this.random.below(PAGE - offset);
    const bytes = write ? this.bytes(length) : new Uint8Array(length);
    this.busy.add(message);
    this.messages += 1;
    this.nic.start(this.key, this.start * PAGE + from, bytes, write, (ok) => {
      this.busy.delete(message);
      const what = `${write ? 'a write' : 'a read'} of ${length} bytes at ${from}`;
      if (!ok) this.wrong.push(`${what} failed`);
      if (write) {
        this.model.set(bytes, from);
        return;
      }
      if (!same(bytes, this.model.subarray(from, from + length))) this.wrong.push(`${what} brought wrong bytes`);
    });
  }

  private cpuWrites(page: number, pages: number): void {
    const bytes = this.bytes(pages * PAGE);
    if (this.mm.write((this.start + page) * PAGE, bytes) !== 0) return;
    this.model.set(bytes, page * PAGE);
    this.checkCpu(page, pages, 'after a write');
  }

  private checkCpu(page: number, pages: number, when: string): void {
    const bytes = new Uint8Array(pages * PAGE);
    this.mm.read((this.start + page) * PAGE, bytes);
    const expected = this.model.subarray(page * PAGE, (page + pages) * PAGE);
    if (!same(bytes, expected)) this.wrong.push(`the process reads wrong bytes ${when}`);
  }

  private change(what: string, make: () => number): void {
    const underWay = this.busy.size > 0;
    if (make() !== 0) return;
    this.changes += 1;
    if (underWay) this.overtaking += 1;
    this.done.set(what, (this.done.get(what) ?? 0) + 1);
  }

  /** The page is on its way for a while, so that whoever wants it finds a migration entry. */
  private migrateSlowly(page: number): number {
    const migration = beginMigration(this.mm, page);
    if (typeof migration === 'number') return migration;
    const finish = { handleEvent: () => migration.finish() };
    this.events.schedule(picoseconds(this.events.now + 400 * PICOSECONDS_PER_NANOSECOND), finish, 0);
    return 0;
  }

  /** A child that goes on seeing what was there, whatever the adapter writes into the parent's memory afterwards. */
  private fork(): void {
    const known = new Set<number>();
    const content = this.model.slice();
    for (let page = 0; page < OdpWorld.pages; page += 1) if (!this.inUse(page, 1)) known.add(page);
    // what is under way when the pages become shared is the child's bad luck, but what begins later is not
    this.change('fork', () => {
      const mm = forkAddressSpace(this.mm, 'child');
      if (mm === null) return -12;
      this.children.push({ mm, content, known });
      return 0;
    });
    if (this.children.length > 2) this.endChild(this.children.shift()!);
  }

  private endChild({ mm, content, known }: { mm: AddressSpace; content: Uint8Array; known: Set<number> }): void {
    const bytes = new Uint8Array(PAGE);
    for (const page of known) {
      mm.read((this.start + page) * PAGE, bytes);
      if (!same(bytes, content.subarray(page * PAGE, (page + 1) * PAGE)))
        this.wrong.push('a child sees what is not its own');
    }
    mm.exit();
  }

  /** Not under a message: it would be refused what it needs in between. */
  private protect(page: number, pages: number): void {
    if (this.inUse(page, pages)) return;
    this.change('protect', () => {
      const ret = this.mm.protect(this.start + page, pages, { writable: false });
      this.mm.protect(this.start + page, pages, { writable: true });
      return ret;
    });
  }

  private discardOrAdvise(page: number, pages: number): void {
    const { driver, key, start } = this;
    const advice = (['prefetch', 'prefetch_write', 'prefetch_no_fault'] as const)[this.random.below(3)]!;
    if (this.random.below(2) === 0) {
      driver.advise(key, advice, (start + page) * PAGE, pages * PAGE, this.random.below(2) === 0);
      return;
    }
    if (this.inUse(page, pages)) return;
    this.change('discard', () => {
      this.model.fill(0, page * PAGE, (page + pages) * PAGE);
      return this.mm.discard(start + page, pages);
    });
  }

  private stray(): void {
    const { address, size } = this.places;
    if (size === 0) return;
    const at = address + this.random.below(size / PAGE) * PAGE;
    this.port.read(dmaAddr(at), 4, new Uint8Array(4), 0, this, STRAY_ENDS, 0);
  }

  private inUse(page: number, pages: number): boolean {
    for (const { first, pages: count } of this.busy) if (first < page + pages && page < first + count) return true;
    return false;
  }

  private freePeerPage(): number {
    this.nextPeerPage = (this.nextPeerPage + 1) % 4096;
    return PEER_PAGE + this.nextPeerPage;
  }

  private bytes(length: number): Uint8Array {
    const seed = this.random.below(256);
    return Uint8Array.from({ length }, (_, index) => (index * 7 + seed * 13 + (index >> 8)) & 0xff);
  }
}

function same(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && left.every((byte, index) => byte === right[index]);
}
