/**
 * The lab document (`lab.json`): one zod schema validates it in the app, in the command line and in tests, and is published
 * as JSON Schema by `lab schema`. It describes values and shapes; what one place of the document demands of another stands
 * in check.ts. Leaves out: runs and recordings, which are entries of the container beside lab.json.
 */
import { z } from 'zod';
import { KERNEL_PROFILE_NAMES } from '../dma/kernels/profiles.ts';
import { DRIVER_FAULT_NAMES } from '../dma/checker/driverFaults.ts';
import { CHECKER_MODES } from '../dma/checker/misuse.ts';
import { IOMMU_VENDORS } from '../iommu/architectures.ts';
import { ACS_BIT_NAMES } from './accessControl.ts';
import { SCHEME_NAMES } from '../schemes/scheme.ts';
import { LIMITS } from './limits.ts';

// Compiled validators need `new Function`, which the renderer's content security policy refuses.
z.config({ jitless: true });

export const FORMAT_VERSION = 1;

const REPLACEMENTS = ['lru', 'plru', 'roundRobin'] as const;
const DOMAINS = ['strict', 'lazy', 'passthrough'] as const;
const IO_PATTERNS = ['read', 'write', 'randread', 'randwrite', 'readwrite', 'randrw'] as const;

const id = z
  .string()
  .min(1)
  .max(LIMITS.idLength)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, 'use letters, digits, ".", "_" and "-", first a letter or digit')
  .describe('A name that is unique among its neighbours and stands in paths.');

const name = z.string().min(1).max(LIMITS.nameLength);
const text = z.string().max(LIMITS.textLength);

function count(minimum: number, maximum: number): z.ZodNumber {
  return z.number().int().min(minimum).max(maximum);
}

function powerOfTwo(minimum: number, maximum: number): z.ZodNumber {
  return count(minimum, maximum).refine((value) => Number.isInteger(Math.log2(value)), 'must be a power of two');
}

const partBase = { id, label: name.optional() };

const acs = z
  .array(z.enum(ACS_BIT_NAMES))
  .refine((bits) => new Set(bits).size === bits.length, 'names a bit twice')
  .optional()
  .describe(
    'Access control that is switched on at its ports. Left out: what Linux switches on, which is sourceValidation, requestRedirect, completionRedirect and upstreamForwarding.',
  );

const socketPart = z
  .strictObject({
    ...partBase,
    kind: z.literal('socket'),
    cpus: count(1, 64).default(4),
    lastLevelCache: z
      .strictObject({
        sizeMiB: count(1, LIMITS.lastLevelCacheMiB).default(15),
        ways: count(1, 64).default(20),
        deviceWays: count(0, 64).default(2).describe('Ways that writes of devices may fill (DDIO); 0: DDIO is off.'),
      })
      .optional()
      .describe('Which data and tables are found without DRAM. Left out: every access takes the same.'),
  })
  .describe('A processor socket: its CPUs run the kernel code, and it has a memory and a host bridge of its own.');

const memoryPart = z
  .strictObject({
    ...partBase,
    kind: z.literal('memory'),
    parent: id,
    sizeGiB: count(1, 4096).default(16),
    swiotlb: z
      .strictObject({ sizeMiB: powerOfTwo(1, 1024).default(64), force: z.boolean().default(false) })
      .optional()
      .describe('Bounce buffers below 4 GiB; force: every untranslated mapping is bounced. Left out: none.'),
  })
  .describe('The memory of one socket: a node. Its physical pages follow those of the socket before.');

const iommuPart = z
  .strictObject({
    ...partBase,
    kind: z.literal('iommu'),
    parent: id,
    model: z.literal('vtd').default('vtd'),
    vendor: z
      .enum(IOMMU_VENDORS)
      .optional()
      .describe("Whose tables and commands the kernel writes. Left out: VT-d. AMD's tables grow and take no levels."),
    preset: id
      .optional()
      .describe(
        'The hardware preset that fields below take their values from where they are left out. Left out: the first.',
      ),
    measured: z
      .strictObject({
        name,
        entries: count(0, 65_536),
        missNs: z.number().min(0).max(1e6),
        baseNs: z.number().min(0).max(1e6),
      })
      .optional()
      .describe(
        'The measured latency curve that the values below were derived from, in place of a preset: K, m and b.',
      ),
    cachingMode: z
      .boolean()
      .optional()
      .describe('VT-d keeps what was not present, so every map flushes. Left out: it does not.'),
    scalableMode: z
      .boolean()
      .optional()
      .describe('VT-d walks first-stage tables, of four levels or five. Left out: second-stage tables.'),
    coherent: z
      .boolean()
      .optional()
      .describe(
        'Walkers look into CPU caches (ECAP.C, IDR0.COHACC). Left out: they do. False: the kernel cleans the cache lines of what it writes.',
      ),
    levels: z
      .union([z.literal(3), z.literal(4), z.literal(5)])
      .default(4)
      .describe("Of the page tables: 39, 48 or 57 bits of address. Five are VT-d's and RISC-V's; AMD's tables grow."),
    superpages: z
      .boolean()
      .optional()
      .describe(
        "Leaves of 2 MiB and more where memory allows them. Left out: yes. False: VT-d without them (intel_iommu=sp_off), or AMD's (nohugepages).",
      ),
    rangeInvalidation: z
      .boolean()
      .optional()
      .describe('One command of an SMMU invalidates a whole range (IDR3.RIL). Left out: a command for each page.'),
    iotlbEntries4K: count(1, 65_536).default(128),
    iotlbEntries2M: count(1, 65_536).default(32),
    iotlbEntries1G: count(1, 65_536).default(4),
    iotlbWays: count(1, 65_536).default(4).describe('Associativity; an IOTLB smaller than this is fully associative.'),
    iotlbReplacement: z.enum(REPLACEMENTS).optional().describe('Which entry of a set gives way. Left out: lru.'),
    iotlbHashed: z.boolean().optional().describe('Sets are chosen by a hash of the page. Left out: by its low bits.'),
    iotlbUnified: z
      .boolean()
      .optional()
      .describe('Pages of all sizes share iotlbEntries4K entries. Left out: each size has its own.'),
    iotlbReserved: count(0, 65_535)
      .optional()
      .describe('Entries for 4 KiB pages that others always hold. Left out: none.'),
    contextCacheEntries: count(1, 4096).default(16),
    pagingCache512G: count(0, 4096).default(8),
    pagingCache1G: count(0, 4096).default(16),
    pagingCache2M: count(0, 4096).default(64),
    pagingCacheWays: count(1, 4096).optional().describe('Left out: paging-structure caches are fully associative.'),
    walkers: count(1, 64).default(6),
  })
  .describe('An IOMMU with its translation caches and page walkers: it serves the root ports of its socket.');

const rootPortPart = z
  .strictObject({
    ...partBase,
    kind: z.literal('rootPort'),
    parent: id,
    generation: count(1, 6).default(4),
    lanes: powerOfTwo(1, 16).default(4),
    maxPayloadSize: powerOfTwo(128, 4096).default(256),
    maxReadRequestSize: powerOfTwo(128, 4096).default(512),
    propagationNs: z.number().min(0).max(100_000).default(120),
    acs,
  })
  .describe('A PCIe root port and the link below it.');

const switchPart = z
  .strictObject({
    ...partBase,
    kind: z.literal('switch'),
    parent: id,
    generation: count(1, 6)
      .default(4)
      .describe('The most that its upstream port can; the link does what both ends can.'),
    lanes: powerOfTwo(1, 16).default(16).describe('Of its upstream port.'),
    portGeneration: count(1, 6).default(4).describe('Of each downstream port.'),
    portLanes: powerOfTwo(1, 16).default(4).describe('Of each downstream port.'),
    propagationNs: z.number().min(0).max(100_000).default(120).describe('One way on a link below it.'),
    latencyNs: z.number().min(0).max(100_000).optional().describe('One way through it. Left out: 110.'),
    storeAndForward: z
      .boolean()
      .optional()
      .describe('It sends on what has come as a whole. Left out: as soon as the header has.'),
    acs,
  })
  .describe('A PCIe switch: an upstream port, and a downstream port for each part below it.');

const nvmePart = z
  .strictObject({
    ...partBase,
    kind: z.literal('nvme'),
    parent: id,
    capacityGiB: count(1, 1_048_576).default(1024),
    queueDepth: count(2, 4096).default(1024).describe('Entries of a submission queue.'),
    channels: count(1, 4096).default(128).describe('I/Os that the medium works on at once.'),
    readLatencyUs: z.number().min(0).max(1_000_000).default(70),
    writeLatencyUs: z.number().min(0).max(1_000_000).default(15),
    maxReadMBps: z.number().min(1).max(1_000_000).default(7000),
    maxWriteMBps: z.number().min(1).max(1_000_000).default(5000),
    maxIops: z.number().min(1).max(1_000_000_000).default(1_000_000),
    sgl: z.boolean().default(true),
    maxTransferKiB: count(4, 16_384).default(1024),
    untrusted: z
      .boolean()
      .optional()
      .describe('Behind an external port: pages that a buffer shares are bounced. Left out: trusted.'),
    dmaMaskBits: count(24, 64).optional().describe('Address bits that the drive can use. Left out: 64.'),
    ats: z
      .strictObject({
        entries4K: count(1, 65_536).default(512),
        entries2M: count(0, 65_536).default(64),
        ways: count(1, 65_536).default(8).describe('Associativity; fewer entries than this are fully associative.'),
        entriesPerRequest: count(1, 64).default(1).describe('Translations that one translation request asks for.'),
        lookupNs: z.number().min(0).max(100_000).default(5),
        invalidationNs: z
          .number()
          .min(0)
          .max(1_000_000)
          .default(100)
          .describe('What it takes for an invalidation itself.'),
        queueDepth: count(1, 32).default(32).describe('Invalidate requests that it takes before it answers.'),
      })
      .optional()
      .describe('ATS: the drive keeps translations of its own, where its domain translates. Left out: it has none.'),
    virtualFunctions: count(1, LIMITS.driveFunctions - 1)
      .optional()
      .describe(
        'SR-IOV: so many further controllers with requester ids of their own, for workloads on "nvme0.vf1" and on; they share the medium and the link. Left out: none.',
      ),
  })
  .describe('An NVMe drive.');

export const partSchema = z.discriminatedUnion('kind', [
  socketPart,
  memoryPart,
  iommuPart,
  rootPortPart,
  switchPart,
  nvmePart,
]);

const replayWorkload = z
  .strictObject({
    id,
    kind: z.literal('replay'),
    device: id,
    recording: id.describe('The folder of the recording inside recordings/.'),
    queueDepth: count(1, 4096).optional().describe('Requests in flight; left out: as deep as the recording was.'),
  })
  .describe('The requests of a recorded run of a real kernel, in their order, driven in a closed loop.');

const bioWorkload = z
  .strictObject({
    id,
    kind: z.literal('bio'),
    device: id,
    rw: z.enum(IO_PATTERNS).default('randread'),
    readPercent: count(0, 100).default(50).describe('Reads among 100 I/Os of readwrite and randrw.'),
    blockSize: count(512, 16 * 1024 * 1024)
      .multipleOf(512)
      .default(65_536)
      .describe('Bytes of one I/O.'),
    blockSizeMix: z
      .array(z.strictObject({ bytes: count(512, 16 * 1024 * 1024).multipleOf(512), weight: count(1, 1_000_000) }))
      .min(1)
      .max(32)
      .optional()
      .describe('Several sizes by weight, in place of blockSize.'),
    queueDepth: count(1, 4096).default(16),
    ioCount: count(1, LIMITS.ioCount).default(10_000),
    regionMiB: count(1, 1_048_576).default(1024).describe('The part of the drive that the I/Os fall into.'),
    contiguity: z
      .union([z.enum(['scattered', 'contiguous']), z.number().min(0).max(0.999)])
      .default('scattered')
      .describe('How the pages of a buffer lie in memory; a number: the chance that a page follows the one before it.'),
    cpus: count(1, 64)
      .default(1)
      .describe(
        "CPUs that submit, in turn; those of the drive's socket come before the others, and those that no earlier workload has before these.",
      ),
    memory: id.optional().describe("The memory that its buffers lie in. Left out: that of the drive's socket."),
  })
  .describe('An I/O generator in the manner of fio.');

export const workloadSchema = z.discriminatedUnion('kind', [replayWorkload, bioWorkload]);

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
export type LabWorkload = z.output<typeof workloadSchema>;
export type BioWorkload = Extract<LabWorkload, { kind: 'bio' }>;
export type Comparison = z.output<typeof comparisonSchema>;
export type Conclusion = z.output<typeof conclusion>;

/** The JSON Schema of lab.json, as `lab schema` prints it. */
export function labJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(labSchema, { io: 'input', target: 'draft-2020-12' });
}
