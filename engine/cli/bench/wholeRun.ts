/** A whole timed run, from block layer to page walk, by the number of bus transactions that need translation. */
import { parseLab } from '../../lab/check.ts';
import { LabRun } from '../../lab/run.ts';
import type { LabDocument } from '../../lab/schema.ts';
import { measurePairs, type PairFigure } from './pairs.ts';

const IO_BYTES = 65_536;
/** A read of the drive is a write to memory, cut to this payload. */
const PAYLOAD_BYTES = 256;
const ACCESSES_PER_IO = IO_BYTES / PAYLOAD_BYTES;
const PAGES_PER_IO = 16;

/** Random 64 KiB reads in scattered pages, strict, two-step. */
export function benchLab(accesses: number): LabDocument {
  const document = {
    format: 1,
    name: 'bench',
    kernelProfile: '7.3',
    topology: {
      parts: [
        { id: 'cpu0', kind: 'socket', cpus: 1 },
        { id: 'dram0', kind: 'memory', parent: 'cpu0', sizeGiB: 4 },
        { id: 'iommu0', kind: 'iommu', parent: 'cpu0' },
        { id: 'port0', kind: 'rootPort', parent: 'cpu0', maxPayloadSize: PAYLOAD_BYTES },
        { id: 'nvme0', kind: 'nvme', parent: 'port0' },
      ],
    },
    workloads: [
      {
        id: 'reads',
        kind: 'bio',
        device: 'nvme0',
        blockSize: IO_BYTES,
        queueDepth: 32,
        ioCount: Math.ceil(accesses / ACCESSES_PER_IO),
      },
    ],
    comparison: [{ id: 'run', scheme: 'two_step', domain: 'strict' }],
  };
  return parseLab(document, 'bench');
}

export function runBenchLab(lab: LabDocument): number {
  const run = LabRun.prepare(lab, 'run', new Map());
  while (run.advance(100_000) === 'running');
  return run.result().counters['iotlbLookups'] ?? 0;
}

export function measureWholeRun(rounds: number, accesses: number): PairFigure {
  const lab = benchLab(accesses);
  const actual = runBenchLab(lab);
  const pages = new Float64Array(actual);
  for (let index = 0; index < actual; index += 1) pages[index] = Math.floor(index / PAGES_PER_IO) % 4_096;
  const physPages = Float64Array.from({ length: 4_096 }, (_, page) => page * 3);
  const bare = (): number => {
    let sum = 0;
    for (let index = 0; index < actual; index += 1) sum += physPages[pages[index]!]!;
    return sum;
  };
  return measurePairs(actual, rounds, bare, () => runBenchLab(lab));
}
