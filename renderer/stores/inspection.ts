/**
 * The look into a finished run: the moment, what was there at that moment, the address whose walk is shown, and how far the
 * computation has come. One for the window, so that it outlives a selection that goes away and comes back.
 */
import { defineStore } from 'pinia';
import { ref, shallowRef } from 'vue';
import { deviceFunctions } from '../../engine/lab/deviceFunctions.ts';
import type { MomentSnapshot, WalkRequest } from '../../engine/lab/momentNames.ts';
import { whileBusy } from '../shell/busy.ts';
import { strings } from '../strings.ts';
import { useLab } from './lab.ts';
import { useNotices } from './notices.ts';

export const useInspection = defineStore('inspection', () => {
  const lab = useLab();
  const notices = useNotices();
  /** The run by its id, since a column that runs again is another run. */
  const runId = ref('');
  const at = ref(0);
  const snapshot = shallowRef<MomentSnapshot | null>(null);
  /** Kept from moment to moment, so that one address can be followed. */
  const walk = shallowRef<WalkRequest | null>(null);
  /** The drive that is looked at, kept likewise; null: the first of the lab. */
  const device = ref<string | null>(null);
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
      const wanted = walk.value === null ? null : { ...walk.value };
      const request = { comparisonId, at: moment, walk: wanted };
      const drives = deviceFunctions(lab.state?.lab.topology.parts ?? []);
      const drive = drives.find(({ id }) => id === device.value);
      const outcome = await whileBusy(
        window.lab.runs.inspect(drive === undefined ? request : { ...request, device: drive.id }),
      );
      if (mine !== wish) return;
      if (outcome.status === 'failed') error.value = outcome.error.message;
      if (outcome.status === 'done') {
        snapshot.value = outcome.snapshot;
        const { live, queued, cached } = outcome.snapshot.space.totals;
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

  return { runId, at, snapshot, walk, device, computing, reached, error, look, stop, connect };
});
