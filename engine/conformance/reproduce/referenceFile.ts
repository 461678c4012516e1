/**
 * The file of published curves that `lab reproduce` reads: one JSON object with one key a measurement. A file may hold other
 * systems, other points and other keys than ours; a reproduction needs only its own key. Input may be hostile: sizes are bounded,
 * names are text that a terminal can show, and what cannot be run is refused here, by its place in the file, before anything runs.
 * Leaves out: keys that no reproduction uses, which are ignored.
 */
import { z } from 'zod';
import fandsPreset from '../../../fixtures/presets/hardware/fands.json' with { type: 'json' };
import publishedCurves from '../../../fixtures/reference/published-curves.json' with { type: 'json' };
import { pathText } from '../../lab/documentPath.ts';
import { parseHostileJson } from '../../lab/hostileJson.ts';
import { LabError } from '../../time/labError.ts';
import { isMessage } from './messageNames.ts';
import { isBound } from './report.ts';

const MOST_POINTS = 4096;
const MOST_SYSTEMS = 256;
const LARGEST_WINDOW = 2 ** 36;
const LONGEST_SHOWN = 100;
const LARGEST_RING = fandsPreset.parameters.largestRing.value;

/** Errors are shares of a reference: nothing may be so near to zero that a share of it is no number. */
const SMALLEST_FIGURE = 1e-9;

const figure = z
  .number()
  .min(0)
  .max(1e15)
  .refine((value) => value === 0 || value >= SMALLEST_FIGURE, `must be 0 or at least ${String(SMALLEST_FIGURE)}`);
const systemName = z
  .string()
  .min(1)
  .max(100)
  .regex(/^[^\p{Cc}\p{Cf}]*$/u, 'a name holds characters that cannot be shown');

/** [window in bytes, mean, median]; only the second column is compared. */
const curve = z
  .array(z.tuple([z.number().int().min(64).max(LARGEST_WINDOW), figure]).rest(figure))
  .min(1)
  .max(MOST_POINTS, 'too many points');

const pcieBench = z.object({
  systems: z
    .record(
      systemName,
      z.object({
        lat_cmd_rd8: curve.optional(),
        lat_cmd_rd64: curve.optional(),
        lat_dma_rd64: curve.optional(),
        bw_rd64_Mtps: curve.optional(),
        bw_wr64_Mtps: curve.optional(),
        bw_rd256_Mtps: curve.optional(),
        bw_wr256_Mtps: curve.optional(),
      }),
    )
    .refine((systems) => Object.keys(systems).length <= MOST_SYSTEMS, 'too many systems'),
  fit: z.record(
    systemName,
    z.object({
      b: z.number().min(1).max(1e6),
      m: z.number().min(0).max(1e6),
      K: z.number().int().min(0).max(65_536),
    }),
  ),
});

/** Columns of equal length, by x. */
const column = z.array(figure).min(1).max(MOST_POINTS, 'too many points');

function columns<Shape extends z.ZodRawShape>(shape: Shape) {
  return z.object(shape).refine((value) => {
    const lengths = Object.values(value).flatMap((one) => (Array.isArray(one) ? [one.length] : []));
    return lengths.every((length) => length === lengths[0]);
  }, 'the columns have different lengths');
}

const missColumns = {
  strict_gbps: column.optional(),
  fands_gbps: column.optional(),
  iommu_off_gbps: column.optional(),
  iotlb: column.optional(),
  l1: column.optional(),
  l2: column.optional(),
  l3: column.optional(),
};

const fands = z.object({
  flows: columns({ x: z.array(z.number().int().min(1).max(1024)).min(1).max(MOST_POINTS), ...missColumns }).optional(),
  ring: columns({
    x: z
      .array(
        z
          .number()
          .int()
          .min(64)
          .max(LARGEST_RING, `the adapter's rings have ${String(LARGEST_RING)} packets at most`),
      )
      .min(1)
      .max(MOST_POINTS),
    ...missColumns,
  }).optional(),
});

const nvmeModes = z.object({
  optane_t_io_uring_kiops: z
    .object({
      strict: figure.min(SMALLEST_FIGURE, 'is what others are compared with, and must not be 0'),
      lazy: figure.optional(),
      pt: figure.optional(),
      premapped_any: figure.optional(),
    })
    .optional(),
  nvme_qd128x4_4k_randread_iops: z
    .object({ strict: figure.optional(), lazy: figure.optional(), pt: figure.optional() })
    .optional(),
});

const NO_FIGURE = 'neither a number nor a bound such as ">220000"';
const bound = z.string().max(32, NO_FIGURE).refine(isBound, NO_FIGURE);

const pageFaults = z.object({
  npf_asplos17_us: z
    .record(
      z
        .string()
        .refine(
          isMessage,
          'names no message that can be run, such as "64KiB", "ats_pri_one_page_64KiB" or "1MiB_batch_16"',
        ),
      z.union([figure, bound], NO_FIGURE),
    )
    .refine((points) => Object.keys(points).length <= MOST_POINTS, 'too many points')
    .optional(),
  kunpeng920_sva_stall_us_per_fault_derived: figure.optional(),
});

const smmuScaling = columns({
  cpus: z.array(z.number().int().min(1).max(1024)).min(1).max(MOST_POINTS),
  before: column.optional(),
  after: column,
});

export type PcieBenchReference = z.output<typeof pcieBench>;
export type PcieBenchSystem = PcieBenchReference['systems'][string];
export type MeasuredFit = PcieBenchReference['fit'][string];
export type FandsReference = z.output<typeof fands>;
export type NvmeModesReference = z.output<typeof nvmeModes>;
export type PageFaultsReference = z.output<typeof pageFaults>;
export type SmmuScalingReference = z.output<typeof smmuScaling>;

/** Whatever JSON a file of curves holds; its parts are checked when they are asked for. */
export interface ReferenceFile {
  readonly name: string;
  readonly value: Readonly<Record<string, unknown>>;
}

/** The curves that we ship. */
export const PUBLISHED_CURVES: ReferenceFile = { name: 'published curves', value: publishedCurves };

/** Bytes. */
export const LARGEST_REFERENCE_FILE = 8 * 1024 * 1024;

export function readReferenceFile(name: string, text: string): ReferenceFile {
  const value = parseHostileJson(text, name, LARGEST_REFERENCE_FILE);
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    throw new LabError(name, 'this is no file of curves.', 'It is one JSON object with a key for each measurement.');
  }
  return { name, value: value as Readonly<Record<string, unknown>> };
}

export function pcieBenchReference(file: ReferenceFile): PcieBenchReference {
  return partOf(file, 'pcie_bench', pcieBench);
}

export function fandsReference(file: ReferenceFile): FandsReference {
  return partOf(file, 'fands_sosp24', fands);
}

export function nvmeModesReference(file: ReferenceFile): NvmeModesReference {
  return partOf(file, 'nvme_modes', nvmeModes);
}

export function pageFaultsReference(file: ReferenceFile): PageFaultsReference {
  return partOf(file, 'iopf', pageFaults);
}

export function smmuScalingReference(file: ReferenceFile): SmmuScalingReference {
  return partOf(file, 'smmuv3_kunpeng_strict_mapunmap_per_cpu_per_s', smmuScaling);
}

function partOf<Schema extends z.ZodType>(file: ReferenceFile, key: string, schema: Schema): z.output<Schema> {
  if (!Object.hasOwn(file.value, key)) {
    throw new LabError(file.name, `it has no "${key}".`, 'Name a file that holds this measurement.');
  }
  const parsed = schema.safeParse(file.value[key]);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const path = placeText(file, [key, ...(issue?.path ?? [])]);
  const problem = issue?.code === 'invalid_key' ? issue.issues[0]?.message : issue?.message;
  throw new LabError(path, `${problem ?? 'not as expected'}.`, 'Repair the value.');
}

/** A place in the file for a message, which a stranger's name must not make endless or unreadable. */
export function placeText(file: ReferenceFile, path: readonly PropertyKey[]): string {
  const steps = path.map((step) => (typeof step === 'string' ? shown(step) : step));
  return `${file.name}: ${pathText(file.value, steps)}`;
}

function shown(name: string): string {
  const plain = name.replace(/[\p{Cc}\p{Cf}]/gu, '?');
  return plain.length > LONGEST_SHOWN ? `${plain.slice(0, LONGEST_SHOWN)}...` : plain;
}
