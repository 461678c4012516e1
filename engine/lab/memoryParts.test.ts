/** What a lab says of its memory: last-level caches with and without DDIO, memory of the other socket, walkers that look past caches. */
import { describe, expect, it } from 'vitest';
import { parseLab } from './check.ts';
import { crossCheck } from './crossCheck.ts';
import { LabRun } from './run.ts';
import { labSchema, type LabDocument } from './schema.ts';
import { SOCKET_PRESETS, withSocketPreset } from './socketPresets.ts';

interface Parts {
  readonly socket?: Record<string, unknown>;
  readonly iommu?: Record<string, unknown>;
  readonly workload?: Record<string, unknown>;
  readonly secondSocket?: boolean;
  readonly overrides?: Record<string, number>;
}

function labWith({ socket = {}, iommu = {}, workload = {}, secondSocket = false, overrides = {} }: Parts): LabDocument {
  const second = [
    { id: 'cpu1', kind: 'socket', cpus: 1 },
    { id: 'dram1', kind: 'memory', parent: 'cpu1', sizeGiB: 4 },
  ];
  return labSchema.parse({
    format: 1,
    name: 'memory',
    kernelProfile: '7.3',
    costs: { overrides },
    topology: {
      parts: [
        { id: 'cpu0', kind: 'socket', cpus: 1, ...socket },
        { id: 'dram0', kind: 'memory', parent: 'cpu0', sizeGiB: 4 },
        { id: 'iommu0', kind: 'iommu', parent: 'cpu0', iotlbEntries4K: 16, ...iommu },
        { id: 'port0', kind: 'rootPort', parent: 'cpu0' },
        { id: 'nvme0', kind: 'nvme', parent: 'port0' },
        ...(secondSocket ? second : []),
      ],
    },
    workloads: [
      { id: 'io', kind: 'bio', device: 'nvme0', ioCount: 400, blockSize: 16_384, queueDepth: 4, ...workload },
    ],
    comparison: [{ id: 'run', scheme: 'map_sg', domain: 'strict' }],
  });
}

function run(parts: Parts) {
  const machine = LabRun.prepare(parseLab(labWith(parts), 'memory'), 'run', new Map());
  while (machine.advance(100_000) === 'running');
  const { counters, progress } = machine.result();
  const count = (name: string): number => counters[name] ?? Number.NaN;
  expect(count('faults')).toBe(0);
  return { count, durationPs: progress.virtualTimePs };
}

const CACHE = { lastLevelCache: { sizeMiB: 16, ways: 16, deviceWays: 2 } };

describe('the memory of a lab', () => {
  it('takes what the costs say, where a lab says nothing of it', () => {
    const { count } = run({});
    for (const name of ['dramTableReads', 'dramDataReads', 'socketLinkLines', 'cacheLinesCleaned']) {
      expect([name, count(name)]).toEqual([name, 0]);
    }
  });

  it('is found in the cache where a CPU has written it: tables, queues and the data of writes', () => {
    const writes = { rw: 'randwrite' };
    const cached = run({ socket: CACHE, workload: writes });
    expect(cached.count('tableReads')).toBeGreaterThan(400);
    expect(cached.count('dramTableReads')).toBe(0);
    expect(cached.count('dramDataReads')).toBe(0);
    // a cache of 1 MiB that a buffer of each I/O passes through
    const small = run({
      socket: { lastLevelCache: { sizeMiB: 1, ways: 4, deviceWays: 2 } },
      workload: { ...writes, queueDepth: 200 },
    });
    expect(small.count('dramDataReads')).toBeGreaterThan(0);
  });

  it('gives way to what a drive writes, by as many ways as that may fill: none with DDIO off', () => {
    const reads = { rw: 'randread', ioCount: 1500, queueDepth: 64 };
    const fromDram = [0, 1, 4].map((deviceWays) =>
      run({ socket: { lastLevelCache: { sizeMiB: 1, ways: 4, deviceWays } }, workload: reads }).count('dramTableReads'),
    );
    expect(fromDram[0]).toBe(0);
    expect(fromDram[1]!).toBeGreaterThan(0);
    expect(fromDram[2]!).toBeGreaterThan(fromDram[1]!);
  });

  it('is read past the caches by walkers that do not look into them, at the price of cleaning and of DRAM', () => {
    const snooping = run({});
    const past = run({ iommu: { coherent: false } });
    expect(past.count('cacheLinesCleaned')).toBeGreaterThan(past.count('iommuMaps'));
    expect(past.count('dramTableReads')).toBeGreaterThan(0);
    expect(past.count('dramTableReads')).toBe(past.count('tableReads') - past.count('contextCacheMisses') * 2);
    expect(past.count('requests')).toBe(snooping.count('requests'));
    expect(past.durationPs).toBeGreaterThan(snooping.durationPs);
  });

  it('costs the way between sockets where it belongs to the other one', () => {
    const writes = { rw: 'randwrite' };
    const near = run({ secondSocket: true, workload: writes });
    const far = run({ secondSocket: true, workload: { ...writes, memory: 'dram1' } });
    expect(near.count('socketLinkLines')).toBe(0);
    // 16 KiB of each I/O
    expect(far.count('socketLinkLines')).toBe(400 * 256);
    expect(far.durationPs).toBeGreaterThan(near.durationPs);
    const slow = { socketLinkPerLine: 100 };
    const narrow = run({ secondSocket: true, workload: { ...writes, memory: 'dram1' }, overrides: slow });
    expect(narrow.durationPs).toBeGreaterThan(400 * 256 * 100_000);
  });

  it.each(SOCKET_PRESETS.map((preset) => [preset.id, preset] as const))(
    'may come from the preset %s',
    (_id, preset) => {
      for (const [name, { source, help, unit, mark, value, range }] of Object.entries(preset.parameters)) {
        expect([name, source !== '', help !== '', unit !== '']).toEqual([name, true, true, true]);
        expect(['measured', 'derived', 'assumed']).toContain(mark);
        expect(value).toBeGreaterThanOrEqual(range![0]!);
        expect(value).toBeLessThanOrEqual(range![1]!);
      }
      const part = labWith({}).topology.parts.find((candidate) => candidate.kind === 'socket')!;
      const socket = withSocketPreset(part, preset);
      expect(crossCheck(labWith({ socket: { ...socket } }), null)).toEqual([]);
      expect(run({ socket: { ...socket } }).count('tableReads')).toBeGreaterThan(0);
    },
  );

  it('begins with the first of them', () => {
    const named = labWith({ socket: { lastLevelCache: {} } }).topology.parts.find(({ kind }) => kind === 'socket');
    expect(named).toEqual(withSocketPreset({ id: 'cpu0', kind: 'socket', cpus: 1 }, SOCKET_PRESETS[0]!));
  });

  it('is refused where it cannot be', () => {
    const paths = (parts: Parts): string[] => crossCheck(labWith(parts), null).map(({ path }) => path);
    expect(paths({ socket: { lastLevelCache: { ways: 4, deviceWays: 5 } } })).toEqual([
      'topology.parts[cpu0].lastLevelCache.deviceWays',
    ]);
    expect(paths({ iommu: { vendor: 'amd', coherent: false } })).toEqual(['topology.parts[iommu0].coherent']);
    expect(paths({ iommu: { vendor: 'smmuv3', coherent: false } })).toEqual([]);
    expect(paths({ iommu: { coherent: false }, socket: CACHE })).toEqual([]);
  });
});
