/**
 * The open document as main tells it, and the latest frame of each run. Frames are plain objects of typed arrays held
 * shallowly: making them reactive in depth would cost more than drawing them. However many runs stream, the window is told
 * of new frames at most ten times a second.
 */
import { defineStore } from 'pinia';
import { computed, shallowRef } from 'vue';
import type { DocumentState, RunState } from '../../electron/ipc/api.ts';
import type { RunFrame } from '../../engine/lab/runTypes.ts';
import type { Comparison } from '../../engine/lab/schema.ts';
import { beginWork, whileBusy } from '../shell/busy.ts';
import { strings } from '../strings.ts';
import { useNotices } from './notices.ts';

const FRAME_INTERVAL_MS = 100;
/** After a paint that took long, input comes first. */
const SHORTEST_REST_MS = 16;

/** One column of the comparison with everything the window knows of it. */
export interface Column {
  readonly comparison: Comparison;
  readonly label: string;
  /** Place among the columns: colour and dash pattern. */
  readonly slot: number;
  readonly run: RunState;
  readonly frame: RunFrame | null;
}

export function comparisonLabel(comparison: Comparison): string {
  return comparison.label ?? `${comparison.scheme} ${comparison.domain}`;
}

export const useLab = defineStore('lab', () => {
  const notices = useNotices();
  const state = shallowRef<DocumentState | null>(null);
  const frames = shallowRef<ReadonlyMap<string, RunFrame>>(new Map());
  const arrived = new Map<string, RunFrame>();
  /** Run states that the window has not been told of yet. */
  const progressed = new Map<string, RunState>();
  /** Runs that began anew since then. */
  const restarted = new Set<string>();
  let waiting = false;
  let endWork = (): void => undefined;

  const columns = computed<readonly Column[]>(() => {
    const current = state.value;
    if (current === null) return [];
    return current.lab.comparison.flatMap((comparison, slot) => {
      const run = current.runs.find((candidate) => candidate.comparisonId === comparison.id);
      if (run === undefined) return [];
      const frame = frames.value.get(comparison.id) ?? null;
      return [{ comparison, label: comparisonLabel(comparison), slot, run, frame }];
    });
  });

  const running = computed(() => columns.value.filter(({ run }) => run.status === 'running'));
  const paused = computed(() => columns.value.filter(({ run }) => run.status === 'paused'));
  const active = computed(() => running.value.length + paused.value.length > 0);
  const hasResults = computed(() => columns.value.some(({ frame }) => frame !== null));

  /** What came since the last look goes to the window at once; then it is left alone until it has painted that. */
  function flush(): void {
    const begun = performance.now();
    const current = state.value;
    if (arrived.size + restarted.size > 0) {
      const kept = [...frames.value].filter(([id]) => !restarted.has(id));
      frames.value = new Map([...kept, ...arrived]);
    }
    arrived.clear();
    restarted.clear();
    if (progressed.size > 0 && current !== null) {
      const changed = current.runs.filter((run) => (progressed.get(run.comparisonId) ?? run).status !== run.status);
      state.value = { ...current, runs: current.runs.map((run) => progressed.get(run.comparisonId) ?? run) };
      for (const { comparisonId } of changed) announce(comparisonId);
    }
    progressed.clear();
    requestAnimationFrame(() => {
      endWork();
      setTimeout(
        () => {
          waiting = false;
          if (arrived.size + progressed.size > 0) schedule();
        },
        Math.max(SHORTEST_REST_MS, FRAME_INTERVAL_MS - (performance.now() - begun)),
      );
    });
  }

  function schedule(): void {
    if (waiting) return;
    waiting = true;
    endWork = beginWork();
    setTimeout(flush, 0);
  }

  function frameArrived(session: number, frame: RunFrame): void {
    if (session !== state.value?.session) return;
    arrived.set(frame.comparisonId, frame);
    schedule();
  }

  async function fetchFrames(of: DocumentState): Promise<void> {
    const wanted = of.runs.filter((run) => run.runId !== null);
    const found = await Promise.all(wanted.map((run) => window.lab.runs.frame(run.comparisonId)));
    if (state.value?.session !== of.session) return;
    const kept = found.filter((frame) => frame !== null);
    if (kept.length > 0)
      frames.value = new Map([...kept.map((frame) => [frame.comparisonId, frame] as const), ...frames.value]);
  }

  function documentArrived(next: DocumentState): void {
    const opened = next.session !== state.value?.session;
    progressed.clear();
    if (opened) {
      arrived.clear();
      restarted.clear();
      frames.value = new Map();
    }
    state.value = next;
    if (opened) whileBusy(fetchFrames(next)).catch((problem: unknown) => notices.failWith(problem));
  }

  function runArrived(session: number, next: RunState): void {
    const current = state.value;
    if (current?.session !== session) return;
    const { comparisonId } = next;
    const before = progressed.get(comparisonId) ?? current.runs.find((run) => run.comparisonId === comparisonId);
    if (next.status === 'running' && before?.status !== 'running' && before?.status !== 'paused') {
      // A run that starts again: what its last run showed is gone.
      arrived.delete(comparisonId);
      restarted.add(comparisonId);
    }
    progressed.set(comparisonId, next);
    schedule();
  }

  function announce(comparisonId: string): void {
    const column = columns.value.find(({ comparison }) => comparison.id === comparisonId);
    if (column) notices.announcement = `${column.label}: ${strings.runStatus[column.run.status]}`;
  }

  /** Subscribes to what main tells and asks for what is already there. */
  async function connect(): Promise<void> {
    const { events, document: documents } = window.lab;
    events.onDocument(documentArrived);
    events.onRunState(runArrived);
    events.onRunFrame(frameArrived);
    events.onMessage(notices.addMessage);
    try {
      documentArrived(await whileBusy(documents.current()));
    } catch (problem) {
      notices.failWith(problem);
    }
  }

  return { state, frames, columns, running, paused, active, hasResults, connect };
});
