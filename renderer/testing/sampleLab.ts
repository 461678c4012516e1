/** A small lab, its runs and a stand-in for window.lab, for the tests of the page. Frames come from plain arithmetic. */
import type { DocumentState, InspectionRequest, LabApi, Outcome, RunState } from '../../electron/ipc/api.ts';
import type { CacheLook, IovaSnapshot, MomentSnapshot } from '../../engine/lab/momentNames.ts';
import type { RunFrame, SummaryRow } from '../../engine/lab/runTypes.ts';
import type { Comparison, LabDocument, Part } from '../../engine/lab/schema.ts';
import { SERIES_COLUMNS, type SeriesColumn } from '../../engine/metrics/seriesColumns.ts';

export const sampleParts: readonly Part[] = [
  { id: 'socket0', kind: 'socket', cpus: 4, label: 'Socket 0' },
  { id: 'memory0', kind: 'memory', parent: 'socket0', sizeGiB: 16 },
  {
    id: 'iommu0',
    kind: 'iommu',
    parent: 'socket0',
    model: 'vtd',
    levels: 4,
    iotlbEntries4K: 128,
    iotlbEntries2M: 32,
    iotlbEntries1G: 4,
    iotlbWays: 4,
    contextCacheEntries: 16,
    pagingCache512G: 8,
    pagingCache1G: 16,
    pagingCache2M: 64,
    walkers: 6,
  },
  {
    id: 'port0',
    kind: 'rootPort',
    parent: 'socket0',
    generation: 4,
    lanes: 4,
    maxPayloadSize: 256,
    maxReadRequestSize: 512,
    propagationNs: 120,
  },
  {
    id: 'nvme0',
    kind: 'nvme',
    parent: 'port0',
    capacityGiB: 1024,
    queueDepth: 1024,
    channels: 128,
    readLatencyUs: 70,
    writeLatencyUs: 15,
    maxReadMBps: 7000,
    maxWriteMBps: 5000,
    maxIops: 1_000_000,
    sgl: true,
    maxTransferKiB: 1024,
  },
];

const comparison: Comparison[] = (['map_sg', 'two_step'] as const).flatMap((scheme) =>
  (['strict', 'lazy'] as const).map((domain) => ({ id: `${scheme}-${domain}`, scheme, domain })),
);

export const sampleLab: LabDocument = {
  format: 1,
  name: 'First run',
  question: 'What does the two-step API save on scattered 64 KiB reads?',
  description: 'A recording of Linux 7.3 is replayed under four schemes.',
  seed: 1,
  kernelProfile: '7.3',
  costs: { preset: 'default', overrides: {} },
  topology: { parts: [...sampleParts] },
  workloads: [{ id: 'replay0', kind: 'replay', device: 'nvme0', recording: 'w64k-rand-qd16-frag' }],
  comparison,
  notes: 'Watch the flushes of strict mode.',
};

export function sampleFrame(comparisonId: string, slot: number, count: number): RunFrame {
  const windowPs = 64_000_000;
  const columns = Object.fromEntries(
    SERIES_COLUMNS.map((column, index) => [
      column,
      Float64Array.from({ length: count }, (_, at) => sampleValue(column, at, slot, index)),
    ]),
  ) as Record<SeriesColumn, Float64Array>;
  const runId = `00c0ffee${String(slot).repeat(8)}`;
  const endPs = count * windowPs;
  const completed = count * 16;
  const rows: SummaryRow[] = [
    { key: 'requests', label: 'Requests', unit: 'count', value: completed, help: 'Requests completed.' },
    { key: 'iotlbMisses', label: 'IOTLB misses', unit: 'count', value: count * (90 - slot * 12), help: '' },
    { key: 'mapLatencyP50', label: 'Map latency p50', unit: 'ps', value: 1_850_000 - slot * 240_000, help: '' },
    { key: 'throughput', label: 'Throughput', unit: 'bytes/s', value: 3.2e9 + slot * 2e8, help: '' },
  ];
  return {
    runId,
    comparisonId,
    windowPs,
    count,
    endPs,
    columns,
    progress: { runId, virtualTimePs: endPs, completed, total: 4096, events: count * 900 },
    summary: { rows },
    log: [
      { at: 12_000_000, severity: 'info', source: 'nvme0', message: 'Queue created with 1024 entries.' },
      { at: 48_000_000, severity: 'warning', source: 'iommu0', message: 'Invalidation queue waited for a free slot.' },
    ],
  };
}

function sampleValue(column: SeriesColumn, at: number, slot: number, index: number): number {
  const wave = 1 + 0.2 * Math.sin(at / 9 + index + slot) + 0.08 * Math.sin(at * 1.7 + slot * 5);
  switch (column) {
    case 'mapLatencyP50':
      return (1_850_000 - slot * 240_000) * wave;
    case 'mapLatencyP99':
      return (4_850_000 - slot * 440_000) * wave * (at % 23 === 0 ? 1.6 : 1);
    case 'bookkeepingBytes':
      return Math.round(16 * (slot < 2 ? 2048 : 64) * wave);
    case 'bytes':
      return 16 * 12_800 * wave * (1 + slot * 0.06);
    case 'iotlbMisses2M':
    case 'iotlbMisses1G':
      return 0;
    default:
      return Math.round((90 - slot * 12) * wave);
  }
}

export function idleRun(comparisonId: string): RunState {
  return {
    comparisonId,
    runId: null,
    status: 'idle',
    progress: null,
    eventsPerSecond: 0,
    secondsLeft: null,
    summary: null,
    partial: false,
    outdated: false,
    error: null,
  };
}

export function sampleState(changes: Partial<DocumentState> = {}): DocumentState {
  return {
    session: 1,
    revision: 0,
    lab: sampleLab,
    fileName: null,
    dirty: false,
    changedOnDisk: false,
    undo: null,
    redo: null,
    runs: comparison.map(({ id }) => idleRun(id)),
    ...changes,
  };
}

/** Runs that have come as far as `count` windows, all in one state. */
export function withRuns(
  status: RunState['status'],
  count: number,
): { state: DocumentState; frames: Map<string, RunFrame> } {
  const frames = new Map(comparison.map(({ id }, slot) => [id, sampleFrame(id, slot, count)]));
  const runs = comparison.map(({ id }): RunState => {
    const frame = frames.get(id);
    return {
      ...idleRun(id),
      status,
      runId: frame?.runId ?? null,
      progress: frame?.progress ?? null,
      summary: frame?.summary ?? null,
      partial: status === 'cancelled',
      eventsPerSecond: status === 'running' ? 412_000 : 0,
      secondsLeft: status === 'running' ? 7.4 : null,
      error: status === 'failed' ? 'The run stopped: iommu0 has no page table for device 01:00.0.' : null,
    };
  });
  return { state: sampleState({ runs }), frames };
}

/** An IOVA space with a range of each state. */
function sampleSnapshot(at: number): IovaSnapshot {
  const free = { progress: null, bytes: 0, pieces: 0, direction: null, since: 0 } as const;
  const mapped = { progress: null, bytes: 16_384, pieces: 4, direction: 'fromDevice', since: at / 2 } as const;
  return {
    at,
    device: '0000:01:00.0',
    translated: true,
    spacePages: 2 ** 36,
    ranges: [
      { firstPage: 0xfee00, pages: 256, state: 'reserved', call: null, cpu: -1, ...free },
      { firstPage: 0xffff0, pages: 4, state: 'queued', call: 'dma_iova_try_alloc', cpu: 0, ...mapped },
      { firstPage: 0xffff4, pages: 4, state: 'cached', call: 'dma_map_sg', cpu: 1, ...mapped },
      { firstPage: 0xffff8, pages: 4, state: 'live', call: 'dma_map_sg', cpu: 1, ...mapped, progress: 'mapped' },
    ],
    totals: {
      live: { ranges: 1, pages: 4 },
      queued: { ranges: 1, pages: 4 },
      cached: { ranges: 1, pages: 4 },
      reserved: { ranges: 1, pages: 256 },
    },
  };
}

/** Two entries, in a cache of two sets of two ways. */
export const sampleCache: CacheLook = {
  title: 'IOTLB, 4 KiB',
  sets: 2,
  ways: 2,
  hits: Float64Array.of(9, 4),
  evictions: Float64Array.of(1, 0),
  pages: Float64Array.of(1, 0, 0, 1),
  firstPages: Float64Array.of(0xffff8, 0, 0, 0xffff9),
  domains: Int32Array.of(3, 0, 0, 3),
  spaces: new Int32Array(4).fill(-1),
  targets: Float64Array.of(0x40, 0, 0, 0x77),
  permissions: Uint8Array.of(3, 0, 0, 1),
  filledAt: Float64Array.of(1_000_000, 0, 0, 2_000_000),
  uses: Float64Array.of(6, 0, 0, 4),
};

function sampleMoment({ at, walk }: InspectionRequest): MomentSnapshot {
  const { domains, firstPages } = sampleCache;
  const outcome = { kind: 'translated', address: '0x40000', pages: 1, permissions: 3, stale: false } as const;
  const entry = {
    stage: 2,
    row: 0,
    rowNumber: 1,
    again: false,
    guestPage: -1,
    level: 0,
    number: 1,
    tablePage: 9,
    index: Number(firstPages[0]) % 512,
    address: '0x9fc0',
    kind: 'leaf',
    bits: '0x0000000000040003',
    fields: [
      { high: 63, low: 12, name: 'ADDR', value: 0x40, meaning: 'page at 0x40000' },
      { high: 11, low: 2, name: 'ignored', value: 0, meaning: '' },
      { high: 1, low: 1, name: 'W', value: 1, meaning: 'writes allowed' },
      { high: 0, low: 0, name: 'R', value: 1, meaning: 'reads allowed' },
    ],
    targetPage: 0x40,
    pages: 1,
    permissions: 3,
    read: true,
  } as const;
  const walked = {
    at,
    format: 'vtd-second-stage',
    secondFormat: '',
    domainId: Number(domains[0]),
    space: -1,
    caches: [{ cache: 'IOTLB', answer: 'miss', note: '' }],
    entries: [entry],
    steps: [{ title: 'IOTLB lookup', count: 1, ps: 2_000, cost: null }],
    ps: 2_000,
    outcome,
  } as const;
  return { at, space: sampleSnapshot(at), caches: [sampleCache], walk: walk === null ? null : { ...walked, ...walk } };
}

/** A window.lab that answers from memory and records what was asked. */
export function fakeApi(state: DocumentState, frames: ReadonlyMap<string, RunFrame> = new Map()): FakeApi {
  const calls: string[] = [];
  const listeners: FakeApi['listeners'] = {
    document: [],
    runState: [],
    runFrame: [],
    inspection: [],
    settings: [],
    command: [],
    message: [],
  };
  const done =
    (name: string) =>
    (...given: unknown[]): Promise<Outcome> => {
      calls.push([name, ...given.map((one) => (typeof one === 'string' ? one : JSON.stringify(one)))].join(' '));
      return Promise.resolve({ status: 'done' });
    };
  const listen =
    <Handler>(handlers: Handler[]) =>
    (handler: Handler) => {
      handlers.push(handler);
      return () => handlers.splice(handlers.indexOf(handler), 1);
    };
  const lab: LabApi = {
    document: {
      current: () => Promise.resolve(state),
      openDialog: done('openDialog'),
      openDropped: done('openDropped'),
      openRecent: done('openRecent'),
      openExample: done('openExample'),
      recent: () => Promise.resolve([{ id: 'r1', name: 'thrash.iovalab', folder: '~/labs' }]),
      clearRecent: done('clearRecent'),
      examples: () =>
        Promise.resolve([
          { id: 'first-run', title: 'First run', question: 'What does the two-step API save on scattered reads?' },
          { id: 'bio', title: 'Block I/O', question: 'How does the page mix change IOTLB misses?' },
        ]),
      save: done('save'),
      saveAs: done('saveAs'),
      edit: done('edit'),
      undo: done('undo'),
      redo: done('redo'),
      revert: done('revert'),
      recovery: () => Promise.resolve([]),
      restore: done('restore'),
      openSaved: done('openSaved'),
      discardRecovery: done('discardRecovery'),
    },
    runs: {
      start: done('start'),
      pause: done('pause'),
      resume: done('resume'),
      cancel: done('cancel'),
      frame: (id) => Promise.resolve(frames.get(id) ?? null),
      inspect: (request) => {
        calls.push(`inspect ${JSON.stringify(request)}`);
        return Promise.resolve({ status: 'done', snapshot: sampleMoment(request) });
      },
      endInspection: done('endInspection'),
      commandLine: () => Promise.resolve('lab run first-run.iovalab'),
    },
    exports: { chart: done('chart'), all: done('all') },
    app: {
      info: () =>
        Promise.resolve({
          name: 'IOVA Lab',
          version: '0.1.0',
          electron: '33',
          chromium: '130',
          node: '20',
          platform: 'linux',
          license: 'Apache-2.0',
        }),
      settings: () => Promise.resolve({ theme: 'system', panes: {} }),
      setTheme: done('setTheme'),
      setPanes: done('setPanes'),
      runCommand: done('runCommand'),
      reportError: done('reportError'),
    },
    events: {
      onDocument: listen(listeners.document),
      onRunState: listen(listeners.runState),
      onRunFrame: listen(listeners.runFrame),
      onInspection: listen(listeners.inspection),
      onSettings: listen(listeners.settings),
      onCommand: listen(listeners.command),
      onMessage: listen(listeners.message),
    },
  };
  return { lab, calls, listeners };
}

type HandlerOf<Name extends keyof LabApi['events']> = Parameters<LabApi['events'][Name]>[0];

export interface FakeApi {
  readonly lab: LabApi;
  readonly calls: string[];
  readonly listeners: {
    readonly document: HandlerOf<'onDocument'>[];
    readonly runState: HandlerOf<'onRunState'>[];
    readonly runFrame: HandlerOf<'onRunFrame'>[];
    readonly inspection: HandlerOf<'onInspection'>[];
    readonly settings: HandlerOf<'onSettings'>[];
    readonly command: HandlerOf<'onCommand'>[];
    readonly message: HandlerOf<'onMessage'>[];
  };
}
