/**
 * The workloads of a lab as the document holds them (schema.ts): what runs on which device.
 */
import { z } from 'zod';
import { LIMITS } from './limits.ts';
import { count, id } from './schemaFields.ts';

const IO_PATTERNS = ['read', 'write', 'randread', 'randwrite', 'readwrite', 'randrw'] as const;

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
