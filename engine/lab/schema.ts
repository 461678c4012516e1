/**
 * The lab document (`lab.json`): one zod schema validates it in the app, in the command line and in tests, and is published
 * as JSON Schema by `lab schema`. It describes values and shapes; what one place of the document demands of another stands
 * in check.ts. Leaves out: runs and recordings, which are entries of the container beside lab.json.
 */
import { z } from 'zod';
import { KERNEL_PROFILE_NAMES } from '../dma/kernels/profiles.ts';
import { DRIVER_FAULT_NAMES } from '../dma/checker/driverFaults.ts';
import { CHECKER_MODES } from '../dma/checker/misuse.ts';
import { SCHEME_NAMES } from '../schemes/scheme.ts';
import { LIMITS } from './limits.ts';
import { partSchema } from './partSchemas.ts';
import { count, id, name, text } from './schemaFields.ts';
import { workloadSchema } from './workloadSchemas.ts';

export const FORMAT_VERSION = 1;

const DOMAINS = ['strict', 'lazy', 'passthrough'] as const;

const driverFault = z
  .strictObject({
    kind: z.enum(DRIVER_FAULT_NAMES),
    every: count(1, 1_000_000_000).describe('At every so many calls where it can be made.'),
  })
  .describe('A mistake that the driver makes on purpose, for the API checker to find.');

export const comparisonSchema = z
  .strictObject({
    id,
    label: name.optional(),
    scheme: z.enum(SCHEME_NAMES),
    domain: z.enum(DOMAINS),
    driverFaults: z.array(driverFault).min(1).max(LIMITS.driverFaults).optional(),
    set: z
      .array(z.strictObject({ path: z.string().min(1).max(LIMITS.textLength), value: z.json() }))
      .min(1)
      .max(LIMITS.overrides)
      .optional()
      .describe(
        'What is different in this column: paths as for --set, in topology, workloads, costs, kernelProfile, seed.',
      ),
  })
  .describe('One run of the comparison, one column of the summary.');

const conclusion = z
  .strictObject({
    claim: text.min(1).describe('What the runs show, as a sentence.'),
    metric: z.string().min(1).max(LIMITS.nameLength).describe('A row of the summary, or a counter.'),
    of: id.describe('The run whose figure is spoken of.'),
    relation: z.enum(['lessThan', 'atMost', 'about', 'atLeast', 'moreThan']),
    to: z.union([id, z.number()]).describe('The run that it is compared with, or a number.'),
    times: z.number().gt(0).max(1e12).optional().describe('What the other figure is multiplied by. Left out: 1.'),
    within: z.number().min(0).max(1).optional().describe('The share that "about" may be off. Left out: 0.05.'),
  })
  .describe('A claim that every run of the lab is held against.');

const experiment = z
  .strictObject({
    lookFor: z.array(text.min(1)).max(LIMITS.overrides).optional().describe('What to look at in the runs.'),
    conclusions: z.array(conclusion).max(LIMITS.overrides).optional(),
  })
  .describe('What a lab is to show, beside its question.');

const marker = z.strictObject({
  atPs: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER),
  label: name,
  note: text.optional(),
});

export const labSchema = z
  .strictObject({
    format: z.literal(FORMAT_VERSION),
    name,
    question: text.optional().describe('What the lab is to answer.'),
    description: text.optional(),
    seed: count(0, 0xffff_ffff).default(1),
    kernelProfile: z.enum(KERNEL_PROFILE_NAMES),
    costs: z
      .strictObject({
        preset: id.default('default'),
        overrides: z
          .record(z.string().max(LIMITS.nameLength), z.number().min(0).max(1e12))
          .refine((overrides) => Object.keys(overrides).length <= LIMITS.overrides, 'too many overrides')
          .default({}),
      })
      .default({ preset: 'default', overrides: {} }),
    apiChecker: z
      .enum(CHECKER_MODES)
      .optional()
      .describe('Checks every call of the DMA API; "stop" ends the run at the first misuse. Left out: off.'),
    topology: z.strictObject({ parts: z.array(partSchema).min(1).max(LIMITS.parts) }),
    workloads: z.array(workloadSchema).min(1).max(LIMITS.workloads),
    comparison: z.array(comparisonSchema).min(1).max(LIMITS.comparisons),
    experiment: experiment.optional(),
    view: z.record(z.string().max(LIMITS.nameLength), z.json()).optional().describe('Layout of the window.'),
    markers: z.array(marker).max(LIMITS.markers).optional(),
    notes: text.optional(),
  })
  .describe('An IOVA Lab document.');

export type LabDocument = z.output<typeof labSchema>;
export type Part = z.output<typeof partSchema>;
export type PartKind = Part['kind'];
export type PartOf<Kind extends PartKind> = Extract<Part, { kind: Kind }>;
/** A part that does DMA. */
export type DevicePart = PartOf<'nvme' | 'nic' | 'gpu'>;
export type LabWorkload = z.output<typeof workloadSchema>;
export type RdmaWorkload = Extract<LabWorkload, { kind: 'rdma' }>;
export type DmabufWorkload = Extract<LabWorkload, { kind: 'dmabuf' }>;
export type OdpWorkload = Extract<LabWorkload, { kind: 'odp' }>;
export type BioWorkload = Extract<LabWorkload, { kind: 'bio' }>;
export type Comparison = z.output<typeof comparisonSchema>;
export type Conclusion = z.output<typeof conclusion>;

/** The JSON Schema of lab.json, as `lab schema` prints it. */
export function labJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(labSchema, { io: 'input', target: 'draft-2020-12' });
}
