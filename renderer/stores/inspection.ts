/**
 * The look into a finished run: the moment, the space at that moment, and how far its computation has come. One for the
 * window, so that it outlives a selection that goes away and comes back.
 */
import { defineStore } from 'pinia';
import { ref, shallowRef } from 'vue';
import type { IovaSnapshot } from '../../engine/lab/iovaNames.ts';
import { whileBusy } from '../shell/busy.ts';
import { strings } from '../strings.ts';
import { useNotices } from './notices.ts';

export const useInspection = defineStore('inspection', () => {
  const notices = useNotices();
  /** The run by its id, since a column that runs again is another run. */
  const runId = ref('');
  const at = ref(0);
  const snapshot = shallowRef<IovaSnapshot | null>(null);
  const computing = ref(false);
  const reached = ref(0);
  const error = ref('');
  let wish = 0;

  async function look(comparisonId: string, run: string, moment: number): Promise<void> {
    if (runId.value !== run) snapshot.value = null;
    runId.value = run;
    at.value = moment;
    computing.value = true;
    reached.value = 0;
    error.value = '';
    wish += 1;
    const mine = wish;
    try {
      const outcome = await whileBusy(window.lab.runs.inspectIova({ comparisonId, at: moment }));
      if (mine !== wish) return;
      if (outcome.status === 'failed') error.value = outcome.error.message;
      if (outcome.status === 'done') {
        snapshot.value = outcome.snapshot;
        const { live, queued, cached } = outcome.snapshot.totals;
        notices.announcement = strings.iova.done(live.ranges, queued.ranges, cached.ranges);
      }
    } catch (problem) {
      if (mine === wish) notices.failWith(problem);
    } finally {
      if (mine === wish) computing.value = false;
    }
  }

  async function stop(): Promise<void> {
    wish += 1;
    computing.value = false;
    await notices.attempt(window.lab.runs.endInspection());
  }

  function connect(): void {
    window.lab.events.onInspection((progress) => {
      if (progress.at === at.value) reached.value = progress.reached;
    });
  }

  return { runId, at, snapshot, computing, reached, error, look, stop, connect };
});
