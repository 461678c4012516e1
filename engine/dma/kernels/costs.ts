/**
 * What the calls of the DMA API cost the CPU that makes them: named parameters with unit, source and mark, resolved once
 * per run into picoseconds (their values: fixtures/presets/kernel-costs). Every layer charges its own part, so that the cost of a call
 * is the sum of what it did.
 * Leaves out: what the hardware makes the CPU wait, which comes on top from the invalidation queue.
 */
import publishedNanoseconds from '../../../fixtures/presets/kernel-costs/published-nanoseconds.json' with { type: 'json' };
import recordedInstructions from '../../../fixtures/presets/kernel-costs/recorded-instructions.json' with { type: 'json' };
import { picoseconds, PICOSECONDS_PER_NANOSECOND, type Picoseconds } from '../../time/picoseconds.ts';
import { LabError } from '../../time/labError.ts';
import type { KernelProfileName } from './profiles.ts';

/** measured: read off a measurement. derived: computed from measurements. assumed: a choice, for want of a measurement. */
export type CostMark = 'measured' | 'derived' | 'assumed';

/** The parameters and what each one pays for. */
export const DMA_COST_HELP = {
  instructionTime: 'time of one executed instruction; turns instruction counts into time',
  mapPhysCall: 'dma_map_phys or dma_map_page itself, without IOVA and page table',
  unmapPhysCall: 'dma_unmap_phys or dma_unmap_page itself, the lookup of the physical address included',
  mapSgCall: 'dma_map_sg itself, without its entries, IOVA and page table',
  mapSgPerEntry: 'each scatterlist entry: padding, joining, filling in the result',
  unmapSgCall: 'dma_unmap_sg itself',
  iovaTryAllocCall: 'dma_iova_try_alloc itself, without the IOVA',
  iovaLinkCall: 'dma_iova_link itself, without the page table',
  iovaSyncCall: 'dma_iova_sync on hardware that needs no flush after a map',
  iovaUnlinkCall: 'dma_iova_unlink itself, also as a part of dma_iova_destroy',
  iovaFreeCall: 'dma_iova_free itself, also as a part of dma_iova_destroy',
  iovaAllocCached: 'an IOVA from the cache of this CPU',
  iovaAllocRounding: 'rounding a range of 2 to 31 pages up to a size class',
  iovaAllocTree: 'an IOVA from the tree, beyond the fruitless look into the cache',
  iovaTreeStep: 'each neighbour that a search of the tree passes, after the first',
  iovaFreeCached: 'giving an IOVA back to the cache of this CPU',
  iovaFreeTree: 'giving an IOVA back to the tree, beyond the look at the cache',
  pageTableMapCall: 'iommu_map: entry, walk to the leaf table, exit',
  pageTableMapPerEntry: 'each leaf written',
  pageTableUnmapCall: 'iommu_unmap: entry, walk to the leaf table, exit',
  pageTableUnmapPerEntry: 'each leaf cleared',
  tablePageAllocate: 'a page for a new page table, zeroed',
  cacheLineClean: 'each cache line of a page table cleaned, for walkers that do not look into caches',
  invalidateRange: 'building and submitting the invalidation of a range, without the wait for the hardware',
  invalidateDomain: 'building and submitting the invalidation of a domain, without the wait for the hardware',
  flushQueueEnqueue: 'putting an unmapped range into the flush queue',
  flushQueueRelease: 'each range that leaves the flush queue, before it is given back',
  directMapCall: 'dma_map_phys or dma_map_page without translation',
  directUnmapCall: 'dma_unmap_phys or dma_unmap_page without translation',
  directMapSgCall: 'dma_map_sg without translation, without its entries',
  directMapSgPerEntry: 'each entry of dma_map_sg without translation',
  directUnmapSgCall: 'dma_unmap_sg without translation, without its entries',
  directUnmapSgPerEntry: 'each entry of dma_unmap_sg without translation',
  directTwoStepCall: 'dma_iova_try_alloc that finds no translation and says no',
  coherentAllocCall: 'dma_alloc_coherent itself, without IOVA and page table',
  coherentFreeCall: 'dma_free_coherent itself',
  bounceMapCall: 'finding and marking the slots of a bounce buffer, without the copy',
  bounceUnmapCall: 'freeing the slots of a bounce buffer, without the copy',
  bounceCopyPer64Bytes: 'each 64 bytes copied to or from a bounce buffer',
  p2pdmaCheck: 'asking whether a page is a peer’s memory, where a machine has peers',
  p2pdmaLookup: 'finding the way to a peer that was not asked about just before',
} as const;

export type DmaCostName = keyof typeof DMA_COST_HELP;

export const DMA_COST_NAMES = Object.keys(DMA_COST_HELP) as readonly DmaCostName[];

export interface DmaCostParameter {
  readonly name: DmaCostName;
  readonly value: number;
  readonly unit: 'instructions' | 'ns';
  readonly source: string;
  readonly mark: CostMark;
  readonly help: string;
}

/** The kernels that presets have values for. */
export type CostKernel = '6.12' | '6.17' | '7.3';

/** Where a profile takes its costs from: the nearest kernel with the same calls and page-table code. */
const COST_KERNELS: Readonly<Record<KernelProfileName, CostKernel>> = {
  '6.12': '6.12',
  '6.16': '6.17',
  '6.17': '6.17',
  '6.18': '6.17',
  '7.2': '7.3',
  '7.3': '7.3',
  ideal: '7.3',
};

/** One row of a preset: the value of a parameter in each kernel. `derivedIn`: kernels whose value was not recorded itself. */
interface DmaCostRow {
  readonly unit: 'instructions' | 'ns';
  readonly values: Readonly<Record<CostKernel, number>>;
  readonly mark: CostMark;
  readonly derivedIn?: readonly CostKernel[];
  readonly source: string;
}

type DmaCostTable = Readonly<Record<DmaCostName, DmaCostRow>>;

export const DMA_COST_PRESETS = ['recorded-instructions', 'published-nanoseconds'] as const;
export type DmaCostPreset = (typeof DMA_COST_PRESETS)[number];

const TABLES: Readonly<Record<DmaCostPreset, DmaCostTable>> = {
  'recorded-instructions': recordedInstructions.parameters as DmaCostTable,
  'published-nanoseconds': publishedNanoseconds.parameters as DmaCostTable,
};

/** Every cost in picoseconds, an integer. */
export type DmaCosts = Readonly<Record<DmaCostName, Picoseconds>>;

export function dmaCostParameters(preset: DmaCostPreset, profile: KernelProfileName): readonly DmaCostParameter[] {
  const table = TABLES[preset];
  const kernel = COST_KERNELS[profile];
  const borrowed = kernel === profile ? '' : `; value of kernel ${kernel}, the nearest one known`;
  return DMA_COST_NAMES.map((name) => {
    const row = table[name];
    const derived = row.mark === 'measured' && (kernel !== profile || row.derivedIn?.includes(kernel) === true);
    return {
      name,
      value: row.values[kernel],
      unit: row.unit,
      source: row.source + borrowed,
      mark: derived ? 'derived' : row.mark,
      help: DMA_COST_HELP[name],
    };
  });
}

/**
 * Turns parameters into picoseconds. Overrides replace values by name, in the parameter's own unit.
 */
export function resolveDmaCosts(
  parameters: readonly DmaCostParameter[],
  overrides: Readonly<Partial<Record<DmaCostName, number>>> = {},
): DmaCosts {
  const value = (parameter: DmaCostParameter): number => {
    const chosen = overrides[parameter.name] ?? parameter.value;
    if (!Number.isFinite(chosen) || chosen < 0) {
      throw new LabError(
        `costs.overrides.${parameter.name}`,
        `${chosen} is no cost.`,
        `Give a number of ${parameter.unit} that is 0 or more.`,
      );
    }
    return chosen;
  };
  const instructionTime = parameters.find((parameter) => parameter.name === 'instructionTime');
  const picosecondsPerInstruction =
    (instructionTime === undefined ? 0 : value(instructionTime)) * PICOSECONDS_PER_NANOSECOND;
  const costs: Partial<Record<DmaCostName, Picoseconds>> = {};
  for (const parameter of parameters) {
    const scale = parameter.unit === 'ns' ? PICOSECONDS_PER_NANOSECOND : picosecondsPerInstruction;
    costs[parameter.name] = picoseconds(Math.round(value(parameter) * scale));
  }
  for (const name of DMA_COST_NAMES) {
    if (costs[name] === undefined) {
      throw new LabError('costs', `the preset has no value for ${name}.`, 'Use a complete preset.');
    }
  }
  // every call of the DMA API looks several up: an object that grew name by name is a dictionary to V8, its copy is not
  return { ...costs } as DmaCosts;
}
