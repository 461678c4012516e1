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
import { whileBusy } from '../shell/busy.ts';
import { strings } from '../strings.ts';
import { useNotices } from './notices.ts';

const FRAME_INTERVAL_MS = 100;

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
  /** Progress that changes no status can wait for the next flush; a status is shown at once. */
  const progressed = new Map<string, RunState>();
  let waiting = false;

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
    waiting = true;
    if (arrived.size > 0) frames.value = new Map([...frames.value, ...arrived]);
    arrived.clear();
    const current = state.value;
    if (progressed.size > 0 && current !== null)
      state.value = { ...current, runs: current.runs.map((run) => progressed.get(run.comparisonId) ?? run) };
    progressed.clear();
    requestAnimationFrame(() => {
      setTimeout(() => {
        waiting = false;
        if (arrived.size + progressed.size > 0) schedule();
      }, FRAME_INTERVAL_MS);
    });
  }

  function schedule(): void {
    if (waiting) return;
    waiting = true;
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
      frames.value = new Map();
    }
    state.value = next;
    if (opened) whileBusy(fetchFrames(next)).catch((problem: unknown) => notices.failWith(problem));
  }

  function runArrived(session: number, next: RunState): void {
    const current = state.value;
    if (current?.session !== session) return;
    const before = current.runs.find((run) => run.comparisonId === next.comparisonId);
    if (before?.status === next.status) {
      progressed.set(next.comparisonId, next);
      schedule();
      return;
    }
    progressed.delete(next.comparisonId);
    if (next.status === 'running' && before?.status !== 'paused') forget(next.comparisonId);
    state.value = {
      ...current,
      runs: current.runs.map((run) => (run.comparisonId === next.comparisonId ? next : run)),
    };
    announce(next);
  }

  /** A run that starts again: what its last run showed is gone. */
  function forget(comparisonId: string): void {
    arrived.delete(comparisonId);
    if (!frames.value.has(comparisonId)) return;
    frames.value = new Map([...frames.value].filter(([id]) => id !== comparisonId));
  }

  function announce(run: RunState): void {
    const column = columns.value.find(({ comparison }) => comparison.id === run.comparisonId);
    if (column) notices.announcement = `${column.label}: ${strings.runStatus[run.status]}`;
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
