/**
 * The SR-IOV capability of a physical function, and the virtual functions that it brings forth (PCI Express Base Specification chapter 9:
 * 9.2.1.2 VF discovery, 9.3.3 the capability). Virtual function n has the routing id of its physical function plus First VF Offset plus
 * n - 1 times VF Stride, which may lie on a bus further on; it translates, faults and is told interrupts by that id. Each of its memory
 * ranges is a slice of one base address register (9.2.1.1.1).
 * A device without ARI answers on its own bus as device 0 only, so that its virtual functions there have numbers up to 7; with ARI a bus
 * has 256 functions (6.13). A virtual function's memory answers while VF Enable and VF MSE are set.
 * Leaves out: migration, system page sizes beside 4 KiB, function dependency links, VF resizable BARs.
 */
import { LabError } from '../time/labError.ts';
import type { AddressHit, AddressWindows, Bar } from './addressWindows.ts';
import type { BarOptions } from './baseAddressRegister.ts';
import type { PortNode, PortTree } from './portTree.ts';

const PAGE_SIZE = 4096;
const FUNCTIONS_PER_DEVICE = 8;
const LAST_BUS = 0xff;

export interface SrIovOptions {
  readonly tree: PortTree;
  readonly physicalFunction: PortNode;
  /** TotalVFs; InitialVFs is the same. */
  readonly totalVfs: number;
  readonly firstVfOffset: number;
  /** May be 0 where there is one virtual function only. */
  readonly vfStride: number;
  /** ARI Capable Hierarchy: the port above forwards by function numbers of eight bits. */
  readonly ariCapableHierarchy: boolean;
  /** The last bus that leads to the port above; default the physical function's own. */
  readonly lastBus?: number;
  /** Its VF BARs; the size is that of one slice. */
  readonly bars?: readonly BarOptions[];
}

export class SrIovCapability {
  /** VF Enable. */
  private vfEnable = false;
  /** NumVFs, which stands still while VF Enable is set. */
  private numVfs = 0;
  private readonly options: SrIovOptions;
  private readonly bars: readonly Bar[];
  private virtual: readonly PortNode[] = [];

  constructor(options: SrIovOptions, windows: AddressWindows | null = null) {
    const { physicalFunction, totalVfs, bars = [] } = options;
    this.options = options;
    const small = bars.find(({ size }) => size < PAGE_SIZE);
    if (small !== undefined) {
      throw new LabError(
        `${physicalFunction.name} VF BAR ${String(small.index)}`,
        `a slice of ${String(small.size)} bytes would share a page with its neighbour.`,
        `Use at least ${String(PAGE_SIZE)} bytes, the system page size.`,
      );
    }
    this.bars = bars.flatMap((bar) => (windows === null ? [] : [windows.addBar(physicalFunction, bar, totalVfs)]));
  }

  /** The virtual functions there are, from number 1. */
  get functions(): readonly PortNode[] {
    return this.virtual;
  }

  /** Buses beyond the physical function's own that all its virtual functions need. */
  get furtherBuses(): number {
    const { physicalFunction, totalVfs } = this.options;
    return totalVfs === 0 ? 0 : Math.max(0, (this.routingId(totalVfs) >>> 8) - busOf(physicalFunction));
  }

  /** Of virtual function `number`, from 1 (9.2.1.2), without the PCI domain. */
  routingId(number: number): number {
    const { physicalFunction, firstVfOffset, vfStride } = this.options;
    return (physicalFunction.sourceId & 0xffff) + firstVfOffset + (number - 1) * vfStride;
  }

  /** Sets NumVFs and VF Enable: the virtual functions are there. `acs`: what they have switched on; default what theirs has. */
  enable(numVfs: number, acs: number = this.options.physicalFunction.acs): readonly PortNode[] {
    const { tree, physicalFunction } = this.options;
    if (this.vfEnable) {
      throw new LabError(
        physicalFunction.name,
        `NumVFs is ${String(this.numVfs)} and VF Enable is set.`,
        'Disable the virtual functions before their number is changed.',
      );
    }
    this.refuse(numVfs);
    const domain = physicalFunction.sourceId - (physicalFunction.sourceId & 0xffff);
    this.virtual = Array.from({ length: numVfs }, (_, index) =>
      tree.addVirtualFunction(physicalFunction, domain + this.routingId(index + 1), acs),
    );
    this.vfEnable = true;
    this.numVfs = numVfs;
    return this.virtual;
  }

  /** Clears VF Enable: the virtual functions are gone. */
  disable(): void {
    this.options.tree.removeVirtualFunctions(this.options.physicalFunction);
    this.virtual = [];
    this.vfEnable = false;
  }

  /** Lowest bus address of a slice: that of virtual function `number` (9.2.1.1.1). */
  addressOf(number: number, barIndex: number): number {
    const bar = this.bars.find(({ register }) => register.options.index === barIndex);
    if (bar === undefined) throw new Error(`${this.options.physicalFunction.name} has no VF BAR ${String(barIndex)}`);
    return bar.register.address + (number - 1) * bar.register.options.size;
  }

  /** The virtual function that answers to a hit of a VF BAR; null: it is another function's, or of a slice that nobody has. */
  ownerOf(hit: AddressHit): PortNode | null {
    return this.bars.includes(hit.bar) ? (this.virtual[hit.slice] ?? null) : null;
  }

  private refuse(numVfs: number): void {
    const { physicalFunction, totalVfs, firstVfOffset, vfStride, ariCapableHierarchy, tree } = this.options;
    const { name } = physicalFunction;
    if (!Number.isInteger(numVfs) || numVfs < 1 || numVfs > totalVfs) {
      throw new LabError(
        name,
        `it has no ${String(numVfs)} virtual functions.`,
        `Use 1 to TotalVFs, ${String(totalVfs)}.`,
      );
    }
    if (firstVfOffset < 1 || (numVfs > 1 && vfStride < 1)) {
      const problem = `First VF Offset ${String(firstVfOffset)} and VF Stride ${String(vfStride)} give two functions one routing id.`;
      throw new LabError(name, problem, 'Use at least 1 for both.');
    }
    const lastBus = this.options.lastBus ?? busOf(physicalFunction);
    const needed = this.routingId(numVfs) >>> 8;
    if (needed > lastBus || needed > LAST_BUS) {
      const problem = `${String(numVfs)} virtual functions reach bus ${hex(needed)}, and those to its port end with ${hex(lastBus)}.`;
      throw new LabError(name, problem, 'Use fewer, or give the port above more buses.');
    }
    for (let number = 1; number <= numVfs; number += 1) {
      const id = this.routingId(number);
      if (!ariCapableHierarchy && id >>> 8 === busOf(physicalFunction) && (id & 0xff) >= FUNCTIONS_PER_DEVICE) {
        const problem = `virtual function ${String(number)} would be function ${String(id & 0xff)} of bus ${hex(id >>> 8)}, where without ARI only 8 are reached.`;
        throw new LabError(name, problem, 'Use ARI, fewer virtual functions, or a First VF Offset to the next bus.');
      }
      const taken = tree.find(physicalFunction.sourceId - (physicalFunction.sourceId & 0xffff) + id);
      if (taken === null) continue;
      const problem = `virtual function ${String(number)} would have the address of ${taken.name}.`;
      throw new LabError(name, problem, 'Use another First VF Offset or VF Stride.');
    }
  }
}

function busOf(node: PortNode): number {
  return (node.sourceId >>> 8) & 0xff;
}

function hex(bus: number): string {
  return bus.toString(16).padStart(2, '0');
}
