/** What went wrong or is worth saying: a banner that stays until dismissed, and the desktop's lines for the event pane. */
import { defineStore } from 'pinia';
import { ref, shallowRef } from 'vue';
import type { AppMessage, LabFailure, Outcome } from '../../electron/ipc/api.ts';
import { whileBusy } from '../shell/busy.ts';
import { strings } from '../strings.ts';

const KEPT_MESSAGES = 500;

export const useNotices = defineStore('notices', () => {
  const failure = shallowRef<LabFailure | null>(null);
  const messages = shallowRef<readonly AppMessage[]>([]);
  /** Spoken by screen readers, not shown. */
  const announcement = ref('');

  function addMessage(message: AppMessage): void {
    messages.value = [...messages.value.slice(1 - KEPT_MESSAGES), message];
  }

  function fail(error: LabFailure): void {
    failure.value = error;
    addMessage({ severity: 'error', text: error.message, at: Date.now() });
  }

  function failWith(problem: unknown): void {
    if (isFailure(problem)) fail(problem);
    else fail({ code: 'internal', message: problem instanceof Error ? problem.message : strings.errors.unknown });
  }

  /** Runs an action of the user; what fails is shown. True when it was done. */
  async function attempt(action: Promise<Outcome>): Promise<boolean> {
    try {
      const outcome = await whileBusy(action);
      if (outcome.status === 'failed') fail(outcome.error);
      return outcome.status === 'done';
    } catch (problem) {
      failWith(problem);
      return false;
    }
  }

  function dismiss(): void {
    failure.value = null;
  }

  return { failure, messages, announcement, addMessage, fail, failWith, attempt, dismiss };
});

function isFailure(problem: unknown): problem is LabFailure {
  return typeof problem === 'object' && problem !== null && 'code' in problem && 'message' in problem;
}
