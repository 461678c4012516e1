/**
 * For tests: a machine with a process whose pages may be RAM, memory of a peer behind the same switch, of one through the host bridge and of
 * one out of reach, and RAM beyond the device's reach, which is bounced.
 */
import type { DomainType } from '../../dma/device.ts';
import { TestMachine, type TestMachineOptions } from '../../dma/testMachine.ts';
import { PAGE_SIZE } from '../../memory/addresses.ts';
import { AddressSpace } from '../../memory/addressSpace.ts';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PageKinds, type P2pdmaProvider } from '../../memory/pageKinds.ts';
import { UserPages } from '../../memory/userPages.ts';
import type { MappedRequest } from '../../schemes/mappedRequest.ts';

const PEER_PAGES = 4096;
const NEAR_BUS_OFFSET = 0x100_0000_0000;
const NEAR_PAGE = 0x4_0000;
const FAR_PAGE = 0x5_0000;
const ALONE_PAGE = 0x6_0000;
const near: P2pdmaProvider = { name: '0000:01:00.0', busOffset: NEAR_BUS_OFFSET, sourceId: 0x100 };
const far: P2pdmaProvider = { name: '0000:41:00.0', busOffset: 0, sourceId: 0x4100 };
const alone: P2pdmaProvider = { name: '0000:81:00.0', busOffset: 0, sourceId: 0x8100 };
/** The first page that a device with `limited` does not reach. */
const LIMIT_PAGE = 0x12_0000;
const BOUNCE_SLOTS = 8192;
const RAM_PAGES = 16_384;
/** Of them, above the limit; they are handed out first. */
const HIGH_PAGES = 128;

/** `high`: RAM that a limited device does not reach. */
export type Kind = 'ram' | 'high' | 'near' | 'far' | 'alone';

const FIRST_OF = { near: NEAR_PAGE, far: FAR_PAGE, alone: ALONE_PAGE } as const;

export interface RegionMachineOptions extends TestMachineOptions {
  readonly domain?: DomainType;
  /** The device reaches RAM below LIMIT_PAGE only. */
  readonly limited?: boolean;
  /** Kilobytes of bounce buffers are scarce: so many slots of 2 KiB. */
  readonly bounceSlots?: number;
  readonly lockedPagesLimit?: number;
}

export class RegionMachine extends TestMachine {
  readonly kinds: PageKinds;
  readonly pages: UserPages;
  readonly mm: AddressSpace;
  private readonly ram: FrameAllocator;
  private nextPeer = { near: 0, far: 0, alone: 0 };

  constructor(options: RegionMachineOptions = {}) {
    const pageKinds = new PageKinds();
    for (const [first, provider] of [
      [NEAR_PAGE, near],
      [FAR_PAGE, far],
      [ALONE_PAGE, alone],
    ] as const) {
      pageKinds.setRange(first, PEER_PAGES, provider);
    }
    const { limited = false, bounceSlots = BOUNCE_SLOTS, lockedPagesLimit = Infinity } = options;
    super({
      profile: '7.2',
      pageKinds,
      p2pdma: {
        mapType: (provider) =>
          provider === near ? 'bus_addr' : provider === far ? 'thru_host_bridge' : 'not_supported',
      },
      swiotlbSlots: bounceSlots,
      ...options,
      device: {
        maxSegmentSize: 2 ** 31,
        // a peer's memory is no RAM, so only RAM beyond the limit is ever copied
        ...(limited ? { busDmaLimit: LIMIT_PAGE * PAGE_SIZE - 1 } : {}),
        ...options.device,
      },
    });
    this.kinds = pageKinds;
    this.ram = new FrameAllocator(this.memory, LIMIT_PAGE + HIGH_PAGES - RAM_PAGES, RAM_PAGES);
    this.pages = new UserPages(this.memory, this.ram, pageKinds);
    this.mm = new AddressSpace({ pages: this.pages, lockedPagesLimit, name: 'verbs' });
  }

  /** Maps a run of pages of these kinds and fills them with bytes that tell each place; the first page's number. */
  mapPages(kinds: readonly Kind[]): number {
    const { mm } = this;
    const start = mm.map({ pages: kinds.length });
    for (const [index, kind] of kinds.entries()) {
      if (kind === 'ram' || kind === 'high') continue;
      mm.map({ pages: 1, at: start + index, kind: 'p2p', offset: FIRST_OF[kind] + this.nextPeer[kind] });
      // every second page, but for two in a row now and then
      this.nextPeer[kind] += index % 3 === 0 ? 1 : 2;
    }
    const touch = (wanted: Kind): void => {
      for (const [index, kind] of kinds.entries()) if (kind === wanted) mm.fault(start + index, true);
    };
    touch('high');
    const filler: number[] = [];
    let page = this.ram.allocatePage();
    for (; page >= LIMIT_PAGE; page = this.ram.allocatePage()) filler.push(page);
    this.ram.freePage(page);
    touch('ram');
    for (const held of filler) this.ram.freePage(held);
    mm.write(start * PAGE_SIZE, patternOf(0, kinds.length * PAGE_SIZE));
    return start;
  }

  /** What the device finds behind its own addresses: what the IOMMU says, or the address itself, or a peer's by its bus address. */
  physOf(address: number): number {
    const byBus = this.nearPhysOf(address);
    if (byBus !== null) return byBus;
    const translated = this.api.translatedDevice(this.device);
    return translated === null ? address : translated.domain.iovaToPhys(address);
  }

  /** What a switch finds at a bus address: the near peer's memory; null: it goes up. */
  nearPhysOf(address: number): number | null {
    const byBus = address - NEAR_BUS_OFFSET;
    return byBus >= NEAR_PAGE * PAGE_SIZE && byBus < (NEAR_PAGE + PEER_PAGES) * PAGE_SIZE ? byBus : null;
  }

  /** The device's view of a mapped request from its start. */
  deviceBytes(mapped: MappedRequest): Uint8Array {
    const total = mapped.length.subarray(0, mapped.count).reduce((sum, length) => sum + length, 0);
    const found = new Uint8Array(total);
    let at = 0;
    for (let range = 0; range < mapped.count; range += 1) {
      for (let done = 0; done < mapped.length[range]!; done += PAGE_SIZE) {
        this.memory.readBytes(this.physOf(mapped.address[range]! + done), found, at, PAGE_SIZE);
        at += PAGE_SIZE;
      }
    }
    return found;
  }

  /** All that a region may hold; what stood before a registration must stand after it has failed or ended. */
  held(): Readonly<Record<string, number>> {
    const { counters } = this;
    const allocated = counters.get('iovaAllocFast') + counters.get('iovaAllocSlow');
    return {
      pins: this.pages.pinned,
      lockedPages: this.mm.pinnedPages,
      iova: allocated - counters.get('iovaFree') - counters.get('flushQueueEntries'),
      poolSlots: this.swiotlb?.used ?? 0,
    };
  }
}

/** Bytes that tell their place. */
export function patternOf(from: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let index = 0; index < length; index += 1) {
    const at = from + index;
    bytes[index] = at * 31 + Math.floor(at / 4096) * 17 + Math.floor(at / 65_536) * 7 + 1;
  }
  return bytes;
}
