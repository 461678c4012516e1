/**
 * Bus addresses for the memory of functions, and the windows of the bridges above them (PCI Express Base Specification 7.5.1.2.1 base
 * address registers, 7.5.1.3.8 and 7.5.1.3.9 memory and prefetchable base and limit: whole MiB). Sizes are found from the leaves up:
 * a window is as large as what is placed in it; addresses are given from the host bridge down, the most strictly aligned first (Linux
 * drivers/pci/setup-bus.c). A bridge has a window below 4 GiB, and a prefetchable one of 64 bits, above 4 GiB where the host bridge has
 * room there. What has 32 bits or is not prefetchable must lie in the former; on a root bus 64 bits suffice for the latter.
 * The range of message-signalled interrupts is given to nobody.
 * Leaves out: I/O windows, room kept for what may be plugged in, windows aligned less than their largest content
 * (`calculate_mem_align`), addresses that firmware gave.
 */
import { LabError } from '../time/labError.ts';
import { alignUp, layOut, without, type AddressRange, type Placeable } from './addressLayout.ts';
import { BaseAddressRegister, type BarOptions } from './baseAddressRegister.ts';
import type { HostBridge, PortNode, PortTree } from './portTree.ts';

const MIB = 2 ** 20;
const INTERRUPTS: AddressRange = { start: 0xfee0_0000, end: 0xfeef_ffff };

/** What a host bridge passes down from the CPU. */
export interface HostBridgeApertures {
  readonly below4G: AddressRange;
  /** Null: all must lie below 4 GiB. */
  readonly above4G: AddressRange | null;
}

/** Memory of a function: one register, or the register that all its virtual functions share, a slice each. */
export interface Bar {
  readonly owner: PortNode;
  readonly register: BaseAddressRegister;
  readonly slices: number;
}

/** What answers to an address. */
export interface AddressHit {
  readonly bar: Bar;
  readonly slice: number;
  /** Within the slice. */
  readonly offset: number;
}

/** The windows of a bridge; null: closed. */
export interface BridgeWindows {
  readonly memory: AddressRange | null;
  readonly prefetchable: AddressRange | null;
}

type Kind = keyof BridgeWindows;

/** A register's range, or a bridge's window with what is in it. */
interface Item extends Placeable {
  readonly bar: Bar | null;
  readonly bridge: PortNode | null;
  readonly inside: readonly { readonly item: Item; readonly start: number }[];
}

export class AddressWindows {
  private readonly tree: PortTree;
  private readonly bars: Bar[] = [];
  private readonly windows = new Map<PortNode, { memory: AddressRange | null; prefetchable: AddressRange | null }>();
  /** By address, once they are placed. */
  private sorted: readonly Bar[] = [];

  constructor(tree: PortTree) {
    this.tree = tree;
  }

  /** `slices`: of a register of virtual functions, TotalVFs; its size is that of one slice (9.2.1.1.1). */
  addBar(owner: PortNode, options: BarOptions, slices = 1): Bar {
    const bar: Bar = { owner, register: new BaseAddressRegister(owner.name, options), slices };
    this.bars.push(bar);
    return bar;
  }

  /** Gives every register below the host bridges an address, and every bridge its windows. */
  assign(apertures: ReadonlyMap<HostBridge, HostBridgeApertures>): void {
    for (const [hostBridge, { below4G, above4G }] of apertures) {
      this.refuseOverlap(hostBridge, apertures);
      const low = without(below4G, INTERRUPTS);
      const memory = this.placeRoot(hostBridge, 'memory', low);
      let high = above4G === null ? low : [above4G];
      // without room above 4 GiB both kinds share what is below it
      if (above4G === null) for (const taken of memory) high = high.flatMap((range) => without(range, taken));
      this.placeRoot(hostBridge, 'prefetchable', high);
    }
    this.sorted = [...this.bars].sort((one, other) => one.register.address - other.register.address);
  }

  windowsOf(bridge: PortNode): BridgeWindows {
    return this.windows.get(bridge) ?? { memory: null, prefetchable: null };
  }

  /** Who answers to a bus address; null: nobody. */
  find(address: number): AddressHit | null {
    let low = 0;
    let high = this.sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.sorted[middle]!.register.address <= address) low = middle + 1;
      else high = middle;
    }
    const bar = this.sorted[low - 1];
    if (bar === undefined) return null;
    const { size } = bar.register.options;
    const offset = address - bar.register.address;
    if (offset >= size * bar.slices) return null;
    return { bar, slice: Math.floor(offset / size), offset: offset % size };
  }

  private placeRoot(hostBridge: HostBridge, kind: Kind, spaces: readonly AddressRange[]): readonly AddressRange[] {
    const items = this.itemsOn(null, hostBridge, kind);
    const { placed, left } = layOut(items, spaces);
    const [first] = left;
    if (first !== undefined) throw noRoom(hostBridge, first, left, spaces);
    for (const { item, start } of placed) this.place(item, start, kind);
    return placed.map(({ item, start }) => ({ start, end: start + item.size - 1 }));
  }

  /** All that needs addresses of a kind on the bus below a port, or on a root bus. */
  private itemsOn(port: PortNode | null, hostBridge: HostBridge, kind: Kind): Item[] {
    const items: Item[] = [];
    for (const node of this.tree.functions) {
      if (node.upstream !== port || node.hostBridge !== hostBridge) continue;
      for (const bar of this.bars) {
        if (bar.owner !== node || kindOf(bar, port === null) !== kind) continue;
        const { size } = bar.register.options;
        items.push({ size: size * bar.slices, alignment: size, bar, bridge: null, inside: [] });
      }
      if (node.kind === 'endpoint') continue;
      const below = this.itemsOn(node, hostBridge, kind);
      if (below.length === 0) continue;
      const { placed, endsAt } = layOut(below, [{ start: 0, end: Infinity }]);
      const alignment = below.reduce((strictest, item) => Math.max(strictest, item.alignment), MIB);
      items.push({ size: alignUp(endsAt, MIB), alignment, bar: null, bridge: node, inside: placed });
    }
    return items;
  }

  private place(item: Item, start: number, kind: Kind): void {
    item.bar?.register.place(start);
    if (item.bridge === null) return;
    const windows = this.windows.get(item.bridge) ?? { memory: null, prefetchable: null };
    windows[kind] = { start, end: start + item.size - 1 };
    this.windows.set(item.bridge, windows);
    for (const inner of item.inside) this.place(inner.item, start + inner.start, kind);
  }

  private refuseOverlap(bridge: HostBridge, apertures: ReadonlyMap<HostBridge, HostBridgeApertures>): void {
    const ranges = ({ below4G, above4G }: HostBridgeApertures): AddressRange[] =>
      above4G === null ? [below4G] : [below4G, above4G];
    for (const [other, theirs] of apertures) {
      if (other === bridge) continue;
      for (const one of ranges(apertures.get(bridge)!)) {
        for (const two of ranges(theirs)) {
          if (one.start > two.end || two.start > one.end) continue;
          const problem = `its addresses from 0x${one.start.toString(16)} overlap those of ${other.name}.`;
          throw new LabError(bridge.name, problem, 'Give each host bridge its own.');
        }
      }
    }
  }
}

/** Base and limit as the registers hold them (7.5.1.3.8): bits 15:4 are address bits 31:20. A closed window has its base above its limit. */
export function memoryWindowRegisters(window: AddressRange | null): { readonly base: number; readonly limit: number } {
  if (window === null) return { base: 0xfff0, limit: 0 };
  const field = (address: number): number => (Math.floor(address / MIB) & 0xfff) << 4;
  return { base: field(window.start), limit: field(window.end) };
}

function kindOf({ register }: Bar, onRootBus: boolean): Kind {
  const { bits, prefetchable } = register.options;
  return bits === 64 && (prefetchable || onRootBus) ? 'prefetchable' : 'memory';
}

function noRoom(hostBridge: HostBridge, first: Item, left: readonly Item[], spaces: readonly AddressRange[]): LabError {
  const whose = first.bar?.owner.name ?? first.bridge?.name ?? hostBridge.name;
  const size = describeSize(first.size);
  const total = describeSize(spaces.reduce((sum, { start, end }) => sum + end - start + 1, 0));
  const others = left.length > 1 ? `, and ${String(left.length - 1)} more besides` : '';
  const low = spaces.every(({ end }) => end < 2 ** 32);
  return new LabError(
    whose,
    `no room for ${size} of memory${low ? ' below 4 GiB' : ''}: ${hostBridge.name} has ${total} there${others}.`,
    low
      ? 'Use prefetchable memory of 64 bits, smaller sizes, or a larger range.'
      : 'Use smaller sizes, or a larger range.',
  );
}

function describeSize(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  let value = bytes;
  for (; value >= 1024 && value % 1024 === 0 && unit < units.length - 1; unit += 1) value /= 1024;
  return `${String(value)} ${units[unit]!}`;
}
