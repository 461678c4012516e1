/** Labs whose adapters register memory of several kinds: what is built, what is refused, and that nothing of it is left. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { checkLab, parseLab } from './check.ts';
import { buildMachine } from './machine.ts';
import { pciPlaces } from './pciTree.ts';
import { LabRun } from './run.ts';
import { RunInspection } from './runInspection.ts';
import type { RunResult } from './runTypes.ts';
import type { LabDocument } from './schema.ts';

const FILE = join(import.meta.dirname, '../../fixtures/labs/hodgepodge-region.json');
const NO_RECORDINGS = new Map();
const TOTAL_FRAMES = (16 * 2 ** 30) / 4096;

interface Document {
  topology: { parts: Record<string, unknown>[] };
  workloads: Record<string, unknown>[];
  comparison: Record<string, unknown>[];
  [field: string]: unknown;
}

function document(change: (document: Document) => void = () => undefined): Document {
  const made = JSON.parse(readFileSync(FILE, 'utf8')) as Document;
  delete made['experiment'];
  Object.assign(made.workloads[0]!, { messages: 120, messagesPerRegion: 10, messageBytes: 20_000 });
  change(made);
  return made;
}

function lab(change?: (document: Document) => void): LabDocument {
  return parseLab(document(change), 'test');
}

function problems(change: (document: Document) => void): string[] {
  const made = document(change);
  made.comparison = made.comparison.filter(({ id }) => id === 'two');
  return checkLab(made, 'test').problems.map(({ path, problem, remedy }) => `${path}: ${problem} ${remedy}`);
}

function runOf(of: LabDocument, id: string): { result: RunResult; run: LabRun } {
  const run = LabRun.prepare(of, id, NO_RECORDINGS);
  while (run.advance(100_000) === 'running');
  return { result: run.result(), run };
}

/** Of a run that maps nothing, since its scheme refuses every region: the tables that every domain has. */
function framesOfOthers(): number {
  const { run, result } = runOf(lab(), 'uniform');
  const { counters } = result;
  const tables = counters['tablePagesAllocated']! - counters['tablePagesFreed']!;
  return TOTAL_FRAMES - run.machine.devices[0]!.host.frames.freePages - tables;
}

describe('a lab with an adapter and two GPUs', () => {
  it('gives each a place on the buses, and their memory one behind RAM that no IOVA lies in', () => {
    const of = lab();
    const places = pciPlaces(of.topology.parts);
    expect(['nic0', 'gpu0', 'gpu1'].map((id) => places.get(id)?.address)).toEqual([
      '0000:03:00.0',
      '0000:04:00.0',
      '0000:05:00.0',
    ]);
    const machine = buildMachine(of, of.comparison[0]!, NO_RECORDINGS);
    expect(machine.devices.map(({ id, kind }) => [id, kind])).toEqual([
      ['nic0', 'nic'],
      ['gpu0', 'gpu'],
      ['gpu1', 'gpu'],
    ]);
    expect(machine.drives).toEqual([]);
  });

  it.each(['sg', 'phys', 'two', 'page', 'split', 'export'])('writes every byte to its place: %s', (id) => {
    const { result } = runOf(lab(), id);
    expect(result.counters['messagesFailed']).toBe(0);
    expect(result.counters['bytesWritten']).toBe(120 * 20_000);
    expect(result.log.filter(({ severity }) => severity === 'error')).toEqual([]);
  });

  it('reads every byte from its place too', () => {
    const { result } = runOf(
      lab(({ workloads }) => Object.assign(workloads[0]!, { operation: 'read' })),
      'two',
    );
    expect(result.counters['messagesFailed']).toBe(0);
    expect(result.counters['bytesRead']).toBe(120 * 20_000);
  });

  it('computes the same from the same document', () => {
    expect(runOf(lab(), 'two').result).toEqual(runOf(lab(), 'two').result);
  });

  it.each(['sg', 'phys', 'two', 'page', 'rfc', 'uniform', 'split', 'export'])('gives everything back: %s', (id) => {
    const { run, result } = runOf(lab(), id);
    const { counters } = result;
    // three ranges of the driver's own queues were taken before the run began to count
    expect(counters['iovaFree']).toBe(counters['iovaAllocFast']! + counters['iovaAllocSlow']! + 3);
    const [, ...gpus] = run.machine.devices;
    expect(gpus.map((gpu) => gpu.kind === 'gpu' && gpu.driver.blocks.freePages)).toEqual([0x1_0000, 0x1_0000]);
    const tables = counters['tablePagesAllocated']! - counters['tablePagesFreed']!;
    const others = TOTAL_FRAMES - run.machine.devices[0]!.host.frames.freePages - tables;
    expect(others).toBe(framesOfOthers());
  });

  it.each(['sg', 'phys', 'two', 'page'])('lets the checker of the API watch, which finds nothing: %s', (id) => {
    const { result } = runOf(
      lab((made) => {
        made['apiChecker'] = 'report';
        made.comparison = made.comparison.filter((column) => column['id'] === id);
      }),
      id,
    );
    expect(result.checker?.errorCount).toBe(0);
    expect(result.counters['messagesFailed']).toBe(0);
  });

  it('is looked into at any moment, by the device', () => {
    const inspection = RunInspection.prepare(lab(), 'two', NO_RECORDINGS, 60_000_000, null);
    while (inspection.advance(10_000) === 'running');
    const { space } = inspection.snapshot(null, 'nic0');
    expect(space.device).toBe('0000:03:00.0');
    expect(space.ranges.length).toBeGreaterThan(0);
  });
});

describe('a lab is refused, with the place and a way out', () => {
  it('whose layout names a GPU that is not there, or none', () => {
    expect(
      problems(({ workloads }) =>
        Object.assign(workloads[0]!, {
          layout: [
            { kind: 'peer', peer: 'gpu7', pages: 1 },
            { kind: 'peer', pages: 1 },
            { kind: 'ram', peer: 'gpu0', pages: 1 },
          ],
        }),
      ),
    ).toEqual([
      'workloads[far-writes].layout[0].peer: there is no GPU "gpu7". Did you mean gpu0 or gpu1?',
      'workloads[far-writes].layout[1].peer: it is missing: whose memory is it? Name gpu0 or gpu1.',
      "workloads[far-writes].layout[2].peer: RAM is no peer's. Leave it out, or use the kind peer.",
    ]);
  });

  it('whose RDMA workload runs on something else than an adapter', () => {
    expect(problems(({ workloads }) => Object.assign(workloads[0]!, { device: 'gpu0' }))).toEqual([
      'workloads[far-writes].device: "gpu0" is a gpu, and a workload of the kind rdma needs an nic. Use nic0.',
    ]);
  });

  it('whose messages do not fit their regions, or whose regions fit no machine', () => {
    expect(problems(({ workloads }) => Object.assign(workloads[0]!, { regionKiB: 16 }))[0]).toMatch(
      /regionKiB: a message of 20000 bytes does not fit a region of 16 KiB/,
    );
    expect(
      problems(({ workloads }) => Object.assign(workloads[0]!, { regions: 1024, regionKiB: 1_048_576 }))[0],
    ).toMatch(/regionKiB: 1024 regions of 1048576 KiB are more than 16 GiB/);
  });

  it('whose GPU has too little memory, when its runs are prepared', () => {
    const small = lab(({ topology }) => {
      Object.assign(
        topology.parts.find(({ id }) => id === 'gpu1')!,
        { memoryMiB: 1 },
      );
    });
    expect(() => LabRun.prepare(small, 'two', NO_RECORDINGS)).toThrow(/gpu1.*memoryMiB: the workloads want more/);
  });

  it('whose driver is to make mistakes that only a drive’s driver makes', () => {
    expect(
      problems(({ comparison }) =>
        Object.assign(comparison[2]!, { driverFaults: [{ kind: 'forgetUnmap', every: 3 }] }),
      ),
    ).toEqual([
      "comparison[two].driverFaults: only the driver of a drive makes mistakes on purpose, and workloads[far-writes] is an adapter's. Leave them out, or use workloads of the kinds bio and replay.",
    ]);
  });
});

describe('a region that no scheme could map', () => {
  it('fails with the page that the scheme refuses, and its messages with it', () => {
    const { result } = runOf(lab(), 'uniform');
    expect(result.counters['regionsRefused']).toBe(4);
    expect(result.counters['messagesFailed']).toBe(120);
    const [error] = result.log.filter(({ severity }) => severity === 'error');
    expect(error?.message).toMatch(/could not be registered: Vector 24, at physical address 0x400000000, is a peer’s/);
  });
});

describe.each(['odp-fault-storm', 'dma-buf-moves'])('memory that moves: %s', (name) => {
  const small = (): LabDocument => {
    const made = JSON.parse(
      readFileSync(join(import.meta.dirname, `../../fixtures/labs/${name}.json`), 'utf8'),
    ) as Document;
    delete made['experiment'];
    Object.assign(made.workloads[0]!, { messages: 300, messagesPerRegion: 20 });
    if (made.workloads[0]!['kind'] === 'dmabuf') made.workloads[0]!['moveEveryUs'] = 100;
    return parseLab(made, name);
  };
  const ids = small()
    .comparison.map(({ id }) => id)
    .filter((id) => !id.includes('uniform'));

  it.each(ids)('brings every byte, and gives everything back: %s', (id) => {
    for (const operation of ['write', 'read'] as const) {
      const of = small();
      Object.assign(of.workloads[0]!, { operation });
      const { run, result } = runOf(of, id);
      const { counters } = result;
      expect([counters['messagesFailed'], counters['faults']]).toEqual([0, 0]);
      expect(counters['iovaFree']).toBe(counters['iovaAllocFast']! + counters['iovaAllocSlow']!);
      const gpu = run.machine.devices.find((device) => device.kind === 'gpu');
      expect(gpu?.kind === 'gpu' && gpu.driver.blocks.freePages).toBe(0x1_0000);
      expect(run.machine.metrics.bookkeepingBytes).toBe(0);
    }
  });
});
