/**
 * The parts of a lab's topology as the document holds them (schema.ts): sockets with memory and IOMMU, ports and switches, devices.
 */
import { z } from 'zod';
import { IOMMU_VENDORS } from '../iommu/architectures.ts';
import { ACS_BIT_NAMES } from './accessControl.ts';
import { LIMITS } from './limits.ts';
import { count, id, name, powerOfTwo } from './schemaFields.ts';

const HOST_BRIDGES = ['amd_zen', 'intel_skylake', 'intel_xeon_v3', 'unknown'] as const;
const REPLACEMENTS = ['lru', 'plru', 'roundRobin'] as const;

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
    hostBridge: z
      .enum(HOST_BRIDGES)
      .optional()
      .describe(
        'What Linux knows of it, which decides whether peers may reach each other through it: every AMD since Zen, Intel since Skylake-E, Xeon v3 between its own root ports only. Left out: unknown, and it refuses.',
      ),
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

const ats = z
  .strictObject({
    entries4K: count(1, 65_536).default(512),
    entries2M: count(0, 65_536).default(64),
    ways: count(1, 65_536).default(8).describe('Associativity; fewer entries than this are fully associative.'),
    entriesPerRequest: count(1, 64).default(1).describe('Translations that one translation request asks for.'),
    lookupNs: z.number().min(0).max(100_000).default(5),
    invalidationNs: z.number().min(0).max(1_000_000).default(100).describe('What it takes for an invalidation itself.'),
    queueDepth: count(1, 32).default(32).describe('Invalidate requests that it takes before it answers.'),
  })
  .optional()
  .describe('ATS: the device keeps translations of its own, where its domain translates. Left out: it has none.');

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
    ats,
    virtualFunctions: count(1, LIMITS.driveFunctions - 1)
      .optional()
      .describe(
        'SR-IOV: so many further controllers with requester ids of their own, for workloads on "nvme0.vf1" and on; they share the medium and the link. Left out: none.',
      ),
  })
  .describe('An NVMe drive.');

const nicPart = z
  .strictObject({
    ...partBase,
    kind: z.literal('nic'),
    parent: id,
    gigabitsPerSecond: z.number().min(0.1).max(1600).default(100).describe('Of its cable, in each direction.'),
    cableNs: z.number().min(0).max(10_000_000).default(500).describe('One way through the cable.'),
    maxPacketBytes: powerOfTwo(256, 4096).default(4096).describe('Payload of one packet: the path MTU of InfiniBand.'),
    packetNs: z.number().min(0).max(100_000).default(5).describe('The least between two packets that it sends.'),
    tableCacheLines: powerOfTwo(4, 1_048_576)
      .default(4096)
      .describe('Lines of 64 bytes of translation tables, eight entries each, that it keeps.'),
    pageFaultUs: z
      .number()
      .min(0)
      .max(10_000)
      .default(130)
      .describe(
        "From a missing page to the event that the driver hears: firmware (derived from Lesokhin et al., ASPLOS'17).",
      ),
    resumeUs: z
      .number()
      .min(0)
      .max(10_000)
      .default(67)
      .describe("From the driver's answer to a fault until the queue goes on (derived, same source)."),
    dmaMaskBits: count(32, 64).optional().describe('Address bits that the adapter can use. Left out: 64.'),
    untrusted: z
      .boolean()
      .optional()
      .describe('Behind an external port: pages that a buffer shares are bounced. Left out: trusted.'),
    ats,
  })
  .describe('An RDMA adapter, with another host at the other end of its cable.');

const gpuPart = z
  .strictObject({
    ...partBase,
    kind: z.literal('gpu'),
    parent: id,
    memoryMiB: powerOfTwo(1, 65_536).default(1024).describe('Its memory, all of it behind a base address register.'),
  })
  .describe('A GPU whose memory peers may reach.');

export const partSchema = z.discriminatedUnion('kind', [
  socketPart,
  memoryPart,
  iommuPart,
  rootPortPart,
  switchPart,
  nvmePart,
  nicPart,
  gpuPart,
]);
