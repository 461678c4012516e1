/** The API checker in a run: silent for our drivers, told of each mistake that a driver makes on purpose, and free when off. */
import { describe, expect, it } from 'vitest';
import { DRIVER_FAULT_NAMES, type DriverFault } from '../dma/checker/driverFaults.ts';
import type { MisuseKind } from '../dma/checker/misuse.ts';
import { checkLab } from './check.ts';
import { LabRun, frameOfResult } from './run.ts';
import type { RunResult } from './runTypes.ts';
import type { Comparison, LabDocument } from './schema.ts';
import { readRunEntries, runEntries } from './storedRun.ts';
import { sampleLab } from './testing/sampleLab.ts';

const NO_RECORDINGS = new Map();

const workload = {
  id: 'mixed',
  kind: 'bio',
  device: 'nvme0',
  rw: 'randrw',
  ioCount: 300,
  regionMiB: 64,
  queueDepth: 16,
  blockSizeMix: [4_096, 65_536].map((bytes) => ({ bytes, weight: 1 })),
};

function labWith(column: Partial<Comparison>, apiChecker?: LabDocument['apiChecker']): LabDocument {
  const comparison = [{ id: 'only', scheme: 'two_step', domain: 'strict', ...column }];
  return sampleLab({ workloads: [workload], comparison, ...(apiChecker === undefined ? {} : { apiChecker }) });
}

function run(lab: LabDocument): RunResult {
  const whole = LabRun.prepare(lab, 'only', NO_RECORDINGS);
  while (whole.advance(1_000) === 'running') whole.progress();
  return whole.result();
}

describe('a lab that checks the calls of the API', () => {
  it.each([
    ['map_sg', 'strict'],
    ['map_sg', 'lazy'],
    ['map_sg', 'passthrough'],
    ['two_step', 'strict'],
    ['two_step', 'lazy'],
    ['two_step', 'passthrough'],
  ] as const)('hears nothing of %s %s', (scheme, domain) => {
    const { checker } = run(labWith({ scheme, domain }, 'stop'));
    expect(checker).toMatchObject({ mode: 'stop', errorCount: 0, stopped: false, misuses: [] });
  });

  it('measures the same as without, under an id of its own', () => {
    const plain = run(labWith({}));
    const checked = run(labWith({}, 'report'));
    expect(checked.counters).toEqual(plain.counters);
    expect(checked.summary).toEqual(plain.summary);
    expect(checked.id).not.toBe(plain.id);
    expect(plain).not.toHaveProperty('checker');
    expect(run(labWith({}, 'off')).id).toBe(plain.id);
  });

  const expected: Readonly<Record<DriverFault, MisuseKind>> = {
    forgetSync: 'useBeforeSync',
    forgetErrorCheck: 'mappingErrorNotChecked',
    forgetUnmap: 'pendingAtRelease',
    unmapTwice: 'stateNotInUse',
    unmapOtherSize: 'destroyOtherLength',
    unmapOtherDirection: 'unlinkOtherAttributes',
    unmapWrongFunction: 'freeWrongFunction',
    linkTwice: 'linkTwice',
  };

  it.each(DRIVER_FAULT_NAMES)('finds a driver that makes the mistake %s', (kind) => {
    const scheme = kind === 'unmapWrongFunction' ? 'map_sg' : 'two_step';
    const result = run(labWith({ scheme, driverFaults: [{ kind, every: 20 }] }, 'report'));
    expect(Object.keys(result.checker?.byKind ?? {})).toContain(expected[kind]);
    const first = result.checker?.misuses.find((misuse) => misuse.kind === expected[kind]);
    expect(first?.history.length).toBeGreaterThan(0);
    expect(result.log.some(({ source, misuse }) => source === 'DMA-API' && misuse === 1)).toBe(true);
  });

  it('ends the run at the first misuse where it is told to stop, and keeps what was measured until then', () => {
    const faults = [{ kind: 'unmapOtherDirection', every: 100 }] as const;
    const stopped = run(labWith({ driverFaults: [...faults] }, 'stop'));
    expect(stopped).toMatchObject({ partial: true, checker: { stopped: true, errorCount: 1 } });
    expect(stopped.progress.completed).toBeGreaterThan(0);
    expect(stopped.progress.completed).toBeLessThan(300);
    expect(stopped.checker?.misuses[0]?.call).toMatch(/^dma_(iova_destroy|unmap_phys)\(/);
  });

  it('lets a driver make its mistakes unheard when it is off', () => {
    const result = run(labWith({ driverFaults: [{ kind: 'forgetSync', every: 5 }] }));
    expect(result).not.toHaveProperty('checker');
    expect(result.partial).toBe(false);
  });

  it('costs a driver with mistakes nothing when it is off, in passthrough neither', () => {
    const column = { scheme: 'two_step', domain: 'passthrough' } as const;
    const faulty = run(labWith({ ...column, driverFaults: [{ kind: 'forgetErrorCheck', every: 5 }] }));
    const plain = run(labWith(column));
    expect(faulty.summary).toEqual(plain.summary);
    expect(faulty.counters).toEqual(plain.counters);
  });

  it('keeps its findings in the lab file and in the frame', () => {
    const result = run(labWith({ driverFaults: [{ kind: 'linkTwice', every: 20 }] }, 'report'));
    const entries = new Map(runEntries(result));
    expect(readRunEntries(entries, 'test.iovalab').get(result.id)).toEqual(result);
    expect(frameOfResult(result).checker).toEqual(result.checker);
  });
});

it('refuses a mistake that the scheme has no occasion for', () => {
  const sound = labWith({ scheme: 'map_sg' });
  const [column] = sound.comparison;
  const lab = { ...sound, comparison: [{ ...column, driverFaults: [{ kind: 'forgetSync', every: 5 }] }] };
  const { problems } = checkLab(lab, 'lab.json');
  expect(problems.map(({ path }) => path)).toEqual(['comparison[only].driverFaults[0].kind']);
});
