/**
 * The workloads of a lab as the document holds them (schema.ts): what runs on which device.
 */
import { z } from 'zod';
import { LIMITS } from './limits.ts';
import { MEMORY_CHANGES } from '../workloads/memoryChangeNames.ts';
import { count, id } from './schemaFields.ts';

const IO_PATTERNS = ['read', 'write', 'randread', 'randwrite', 'readwrite', 'randrw'] as const;

const contiguity = z.union([z.enum(['scattered', 'contiguous']), z.number().min(0).max(0.999)]).default('scattered');

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
    contiguity: contiguity.describe(
      'How the pages of a buffer lie in memory; a number: the chance that a page follows the one before it.',
    ),
    cpus: count(1, 64)
      .default(1)
      .describe(
        "CPUs that submit, in turn; those of the drive's socket come before the others, and those that no earlier workload has before these.",
      ),
    memory: id.optional().describe("The memory that its buffers lie in. Left out: that of the drive's socket."),
  })
  .describe('An I/O generator in the manner of fio.');

/** What the workloads of an RDMA adapter have in common: messages of another host, and where they go. */
const messageFields = {
  operation: z.enum(['write', 'read']).default('write').describe('What the host at the other end of the cable does.'),
  messageBytes: count(1, 16 * 1024 * 1024).default(65_536),
  queuePairs: count(1, 256).default(16),
  messages: count(1, LIMITS.messages).default(10_000).describe('Of all queue pairs together.'),
  regions: count(1, 1024).default(1).describe('Regions of memory that the adapter knows at a time.'),
  regionKiB: count(4, 4 * 1024 * 1024)
    .multipleOf(4)
    .default(1024)
    .describe('Of one region.'),
  messagesPerRegion: count(0, 1_000_000_000)
    .default(0)
    .describe('After so many messages a region is registered anew, with other memory. 0: never.'),
};

const bufferPiece = z
  .strictObject({
    kind: z.enum(['ram', 'peer']),
    peer: id.optional().describe('The GPU whose memory it is, where the kind is peer.'),
    pages: count(1, 1_048_576),
    contiguity: contiguity.describe(
      'How its pages lie in memory; a number: the chance that a page follows the one before it.',
    ),
  })
  .describe('Pages of one kind.');

const rdmaWorkload = z
  .strictObject({
    id,
    kind: z.literal('rdma'),
    device: id,
    ...messageFields,
    split: z
      .boolean()
      .default(false)
      .describe('A region of its own for each run of memory of one kind, where a scheme takes no mixture.'),
    layout: z
      .array(bufferPiece)
      .min(1)
      .max(64)
      .default([{ kind: 'ram', pages: 1, contiguity: 'scattered' }])
      .describe('What a region is made of, from its start and over again to its end.'),
    memory: id.optional().describe("The memory that its RAM lies in. Left out: that of the adapter's socket."),
  })
  .describe('Regions of memory registered with an RDMA adapter, and messages of another host into or out of them.');

const memoryChange = z
  .strictObject({
    kind: z
      .enum(MEMORY_CHANGES)
      .describe(
        'migrate: to other frames; swapOut; fork: shared with a child, copied by the next write; toPeer: to memory of a GPU that CPU and peers reach; toPeerPrivate: that nobody else reaches; toRam: back from it.',
      ),
    peer: id.optional().describe('The GPU; for toPeer, toPeerPrivate and toRam.'),
    pages: count(1, 262_144).default(16).describe('In a row.'),
    weight: count(1, 1000).default(1).describe('How often, beside the others.'),
  })
  .describe('Something that happens to the pages of a buffer.');

const odpWorkload = z
  .strictObject({
    id,
    kind: z.literal('odp'),
    device: id,
    ...messageFields,
    implicit: z
      .boolean()
      .default(false)
      .describe('One key for all addresses of the process, in place of one a region.'),
    prefetch: z.boolean().default(false).describe('Pages are fetched when a region is registered, not by faults.'),
    changes: z.array(memoryChange).max(16).default([]).describe('What happens to the memory meanwhile.'),
    changeEveryUs: z.number().min(0.1).max(1_000_000).default(100).describe('Time between two changes, on average.'),
    contiguity: contiguity.describe('How the pages of a buffer lie in memory at first.'),
    memory: id.optional().describe("The memory that its buffers lie in. Left out: that of the adapter's socket."),
  })
  .describe(
    'Memory that an RDMA adapter uses on demand: nothing is pinned, its faults fetch pages, and pages may go at any time.',
  );

const dmabufWorkload = z
  .strictObject({
    id,
    kind: z.literal('dmabuf'),
    device: id,
    exporter: id.describe('The GPU whose driver exports the buffers.'),
    ...messageFields,
    placement: z
      .enum(['system', 'local'])
      .default('local')
      .describe("Where buffers lie at first: RAM, or the GPU's memory."),
    movePages: count(0, 262_144)
      .default(0)
      .describe('Pages in a row that one move takes to the GPU or back. 0: nothing moves.'),
    moveEveryUs: z.number().min(0.1).max(1_000_000).default(100).describe('Time between two moves, on average.'),
  })
  .describe("Buffers that a GPU's driver exports and may move, used by an RDMA adapter.");

export const workloadSchema = z.discriminatedUnion('kind', [
  replayWorkload,
  bioWorkload,
  rdmaWorkload,
  odpWorkload,
  dmabufWorkload,
]);

/** Kinds of workloads whose device is an RDMA adapter. */
export const ADAPTER_WORKLOADS: readonly string[] = ['rdma', 'odp', 'dmabuf'];
