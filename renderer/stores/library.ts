/** Labs that can be opened from here: recent files, the examples, and work that was found after a crash. */
import { defineStore } from 'pinia';
import { shallowRef } from 'vue';
import type { ExampleLab, RecentFile, RecoveryOffer } from '../../electron/ipc/api.ts';
import { whileBusy } from '../shell/busy.ts';
import { useNotices } from './notices.ts';

export const useLibrary = defineStore('library', () => {
  const notices = useNotices();
  const recent = shallowRef<readonly RecentFile[]>([]);
  const examples = shallowRef<readonly ExampleLab[]>([]);
  const recovery = shallowRef<readonly RecoveryOffer[]>([]);

  async function refresh(): Promise<void> {
    const { document: documents } = window.lab;
    try {
      [recent.value, examples.value] = await whileBusy(Promise.all([documents.recent(), documents.examples()]));
    } catch (problem) {
      notices.failWith(problem);
    }
  }

  async function connect(): Promise<void> {
    await refresh();
    try {
      recovery.value = await whileBusy(window.lab.document.recovery());
    } catch (problem) {
      notices.failWith(problem);
    }
  }

  async function settle(offer: RecoveryOffer, choice: 'restore' | 'openSaved' | 'discardRecovery'): Promise<void> {
    const done = await notices.attempt(window.lab.document[choice](offer.id));
    if (done) recovery.value = recovery.value.filter(({ id }) => id !== offer.id);
  }

  return { recent, examples, recovery, refresh, connect, settle };
});
