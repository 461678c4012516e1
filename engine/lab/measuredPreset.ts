/**
 * A preset out of three figures of a latency curve: K, the entries of the IOTLB; m, what a miss adds; b, the latency of a small read
 * that hits. They are what `mean = b + m * max(0, 1 - K / N)` fits over windows of N pages (pcie-bench, SIGCOMM'18), and most data
 * sheets and blog posts have no more. What else a machine needs is what that measurement says of all its hosts
 * (fixtures/presets/pcie-bench.json); b and m are split so that the same measurement on the emulated machine gives them back.
 * Leaves out: rates, which three figures of latency say nothing about.
 */
import pcieBench from '../../fixtures/presets/pcie-bench.json' with { type: 'json' };
import { LabError } from '../time/labError.ts';
import { hardwarePreset, type HardwareParameter, type HardwareValue } from './hardwarePresets.ts';
import { LIMITS } from './limits.ts';
import { COST_PRESETS, type HardwareCostName } from './presets.ts';
import type { LabDocument, PartOf } from './schema.ts';

export interface MeasuredCurve {
  /** K: pages that a window may have before reads begin to miss. */
  readonly entries: number;
  /** m: nanoseconds that an IOTLB miss adds to a read. */
  readonly missNs: number;
  /** b: nanoseconds of a read of 8 bytes that hits, by the adapter's command interface. */
  readonly baseNs: number;
}

type Parameters<Name extends string> = Readonly<Partial<Record<Name, HardwareParameter>>>;

export interface MeasuredPreset {
  /** Fields of the IOMMU's part. */
  readonly iommu: Parameters<string>;
  /** Cost parameters, by the names that a lab's overrides use. */
  readonly costs: Parameters<HardwareCostName>;
  /** Fields of the root port that the adapter was measured below; b contains them. */
  readonly rootPort: Parameters<string>;
}

const { parameters } = pcieBench;
const MOST_ENTRIES = 65_536;
const MOST_NANOSECONDS = 1e6;
/** The reads that b was measured with. */
const BASE_READ_BYTES = 8;
/** Wire bytes of a read request, and of a completion without its data. */
const REQUEST_WIRE = 24;
const COMPLETION_WIRE = 20;
const NANOSECONDS_PER_BYTE = 8 / (7.88 * parameters.lanes.value);
/** What other values of an IOTLB would make of K something else than its entries. */
const REMOVED = ['iotlbReplacement', 'iotlbHashed', 'iotlbUnified', 'iotlbReserved'] as const;

/** Throws a LabError whose place is the figure that cannot be. */
export function measuredPreset(curve: MeasuredCurve): MeasuredPreset {
  const { entries, missNs, baseNs } = curve;
  if (!Number.isInteger(entries) || entries < 0 || entries > MOST_ENTRIES) {
    throw new LabError(
      'entries',
      `${String(entries)} is no number of entries.`,
      `Give a whole number from 0 to ${String(MOST_ENTRIES)}.`,
    );
  }
  checkTime('missNs', missNs);
  checkTime('baseNs', baseNs);
  const figures = `a measured latency curve: K = ${String(entries)} entries, m = ${String(missNs)} ns, b = ${String(baseNs)} ns`;
  const derived = (like: HardwareParameter, value: HardwareValue, how: string): HardwareParameter => ({
    value,
    unit: like.unit,
    ...(like.range === undefined ? {} : { range: like.range }),
    mark: 'derived',
    source: `${figures}; ${how}`,
    help: like.help,
  });
  const known = hardwarePreset(undefined).parameters;
  const costs = COST_PRESETS[0]!.parameters;
  const held = Math.max(1, entries);
  const read = Math.min(parameters.tableRead.value, missNs);
  return {
    iommu: {
      ...known,
      iotlbEntries4K: derived(known['iotlbEntries4K']!, held, 'K'),
      iotlbWays: derived(known['iotlbWays']!, held, 'the curve is that of a fully associative array'),
      walkers: derived(known['walkers']!, parameters.walkers.value, parameters.walkers.source),
    },
    costs: {
      iotlbHit: derived(costs.iotlbHit, parameters.lookup.value, parameters.lookup.source),
      contextCacheHit: derived(costs.contextCacheHit, 0, 'a part of b'),
      pagingCacheLookup: derived(costs.pagingCacheLookup, 0, 'a part of m'),
      tableRead: derived(costs.tableRead, read, 'one read of a table in every miss'),
      walkOverhead: derived(costs.walkOverhead, missNs - read, 'm without the read of a table'),
      rootComplex: derived(costs.rootComplex, parameters.rootComplex.value, 'assumed, and a part of b'),
      memoryRead: derived(costs.memoryRead, memoryRead(baseNs), 'what link, root complex and adapter leave of b'),
    },
    rootPort: {
      generation: parameters.generation as HardwareParameter,
      lanes: parameters.lanes as HardwareParameter,
      maxPayloadSize: parameters.maxPayloadSize as HardwareParameter,
      maxReadRequestSize: parameters.maxReadRequestSize as HardwareParameter,
      propagationNs: parameters.propagation as HardwareParameter,
    },
  };
}

/** The lab with an IOMMU and costs of a measured preset; its root ports stay as they are, and so does all else. */
export function withMeasuredPreset(lab: LabDocument, iommuId: string, preset: MeasuredPreset): LabDocument {
  const parts = lab.topology.parts.map((part) =>
    part.kind === 'iommu' && part.id === iommuId ? measuredPart(part, preset) : part,
  );
  const overrides = { ...lab.costs.overrides, ...(valuesOf(preset.costs) as Record<string, number>) };
  if (Object.keys(overrides).length > LIMITS.overrides) {
    throw new LabError('costs.overrides', 'too many overrides.', 'Put some of them back to their preset.');
  }
  return { ...lab, topology: { ...lab.topology, parts }, costs: { ...lab.costs, overrides } };
}

function measuredPart(part: PartOf<'iommu'>, preset: MeasuredPreset): PartOf<'iommu'> {
  const rest = Object.entries(part).filter(([name]) => !(REMOVED as readonly string[]).includes(name));
  return { ...Object.fromEntries(rest), ...valuesOf(preset.iommu) } as PartOf<'iommu'>;
}

function valuesOf(values: Parameters<string>): Record<string, HardwareValue> {
  return Object.fromEntries(Object.entries(values).map(([name, parameter]) => [name, parameter!.value]));
}

function checkTime(name: string, value: number): void {
  if (Number.isFinite(value) && value >= 0 && value <= MOST_NANOSECONDS) return;
  throw new LabError(name, `${String(value)} is no time.`, `Give nanoseconds from 0 to ${String(MOST_NANOSECONDS)}.`);
}

/** What is left of the base latency for memory: all else on the way of an 8-byte read is known. */
function memoryRead(baseNs: number): number {
  const wire = (REQUEST_WIRE + COMPLETION_WIRE + BASE_READ_BYTES) * NANOSECONDS_PER_BYTE;
  const ways = 2 * (parameters.propagation.value + parameters.rootComplex.value);
  const card = parameters.commandOverhead.value + parameters.perByte.value * BASE_READ_BYTES;
  const left = baseNs - wire - ways - card - parameters.lookup.value;
  if (left >= 0) return left;
  throw new LabError(
    'baseNs',
    `b is ${String(baseNs)} ns, less than link, root complex and adapter take (${(baseNs - left).toFixed(0)} ns).`,
    'Give the mean latency of an 8-byte read that hits, in ns.',
  );
}
