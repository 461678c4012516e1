import { flushPromises, mount, type VueWrapper } from '@vue/test-utils';
import { createPinia } from 'pinia';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { nextTick } from 'vue';
import type { DocumentState, InspectionOutcome, LabApi, RecoveryOffer } from '../electron/ipc/api.ts';
import type { RunFrame } from '../engine/lab/runTypes.ts';
import App from './App.vue';
import { fakeApi, sampleFrame, sampleState, withRuns, type FakeApi } from './testing/sampleLab.ts';

let window_: VueWrapper;

/** The window over a stand-in for the desktop; charts and topology need a canvas and a worker, which a test has not. */
async function open(
  made: { state: DocumentState; frames?: ReadonlyMap<string, RunFrame> },
  change: (lab: Mutable<LabApi>) => void = () => undefined,
): Promise<FakeApi> {
  const api = fakeApi(made.state, made.frames);
  change(api.lab);
  vi.stubGlobal('lab', api.lab);
  window_ = mount(App, {
    attachTo: document.body,
    global: { plugins: [createPinia()], stubs: { TopologyStage: true, ChartPanel: true } },
  });
  await flushPromises();
  await flushPromises();
  return api;
}

type Mutable<Type> = { -readonly [Key in keyof Type]: { -readonly [Inner in keyof Type[Key]]: Type[Key][Inner] } };

function button(name: string): HTMLButtonElement {
  const found = [...document.querySelectorAll('button')].find(
    (one) => (one.getAttribute('aria-label') ?? one.textContent.trim()) === name,
  );
  if (!found) throw new Error(`no button is called ${name}`);
  return found;
}

async function press(key: string, held: { ctrlKey?: boolean; shiftKey?: boolean } = {}): Promise<void> {
  window.dispatchEvent(new KeyboardEvent('keydown', { key, cancelable: true, ...held }));
  await flushPromises();
}

/** Nothing has a size here, so nothing ever changes it. */
class NoResizeObserver {
  readonly observe = vi.fn();
  readonly unobserve = vi.fn();
  readonly disconnect = vi.fn();
}

beforeEach(() => {
  vi.stubGlobal('ResizeObserver', NoResizeObserver);
});

afterEach(() => {
  window_.unmount();
  vi.unstubAllGlobals();
  document.body.replaceChildren();
});

describe('the window', () => {
  it('shows the name of the lab, with a star while it has unsaved changes', async () => {
    await open({ state: sampleState({ dirty: true }) });
    expect(document.querySelector('h1')?.textContent).toContain('First run');
    expect(document.title).toBe('* First run – IOVA Lab');
  });

  it('has the landmarks that people jump by', async () => {
    await open({ state: sampleState() });
    for (const landmark of ['header', 'main', 'nav', 'footer'])
      expect(document.querySelector(landmark), landmark).not.toBeNull();
  });

  it('says when it is idle', async () => {
    await open({ state: sampleState() });
    await vi.waitFor(() => expect(document.documentElement.dataset['idle']).toBe('true'));
  });

  it('offers what can be opened when there is no lab, and says why there is none', async () => {
    const refusal = { code: 'bad-file', message: 'a.iovalab: format: version 9 is newer than this app.' };
    await open({ state: sampleState() }, (lab) => {
      // Main rejects with a plain record: an Error would lose its code on the way through the context bridge.
      lab.document.current = () => ({ then: (_, refuse) => refuse?.(refusal) }) as Promise<DocumentState>;
    });
    expect(document.querySelector('[role=alert]')?.textContent).toContain('version 9 is newer');
    expect(document.querySelector('main')?.textContent).toContain('thrash.iovalab');
  });
});

describe('running', () => {
  it('starts every column, shows the charts, and cannot be started twice', async () => {
    const api = await open({ state: sampleState() });
    await press('F5');
    expect(api.calls).toContain('start []');
    expect(document.querySelector('[role=tab][data-state=active]')?.textContent).toContain('Charts');
  });

  it('pauses and cancels what runs, and says how far it is', async () => {
    const api = await open(withRuns('running', 40));
    expect(button('Run all').getAttribute('aria-disabled')).toBe('true');
    button('Pause').click();
    button('Cancel').click();
    await flushPromises();
    expect(api.calls.filter((call) => call.startsWith('pause'))).toHaveLength(4);
    expect(api.calls.filter((call) => call.startsWith('cancel'))).toHaveLength(4);
    expect(document.querySelector('[role=progressbar]')?.getAttribute('aria-valuenow')).toBe('16');
    expect(document.querySelector('footer')?.textContent).toContain('4 of 4 running');
  });

  it('labels the figures of a cancelled run as partial', async () => {
    await open(withRuns('cancelled', 40));
    expect([...document.querySelectorAll('thead .badge')].map((badge) => badge.textContent)).toEqual(
      Array<string>(4).fill('partial'),
    );
  });

  it('counts what failed where it can be seen, and shows the sentence with the run', async () => {
    await open(withRuns('failed', 4));
    button('map_sg strict, failed').click();
    await nextTick();
    expect(document.querySelector('.inspector [role=alert]')?.textContent).toContain('iommu0 has no page table');
    expect(document.querySelector('footer')?.textContent).toContain('4 of 4 failed');
  });

  it('takes new frames ten times a second at most, however many come', async () => {
    vi.useFakeTimers();
    try {
      const { state } = withRuns('running', 10);
      const api = await open({ state });
      for (let count = 11; count < 60; count += 1)
        for (const handler of api.listeners.runFrame) handler(state.session, sampleFrame('map_sg-strict', 0, count));
      await nextTick();
      expect(document.querySelector('td[data-value]')?.textContent ?? '').not.toContain('944');
      await vi.advanceTimersByTimeAsync(100);
      expect(document.querySelector('td[data-value]')?.textContent).toContain('944');
    } finally {
      vi.useRealTimers();
    }
  });

  it('ignores frames of a document that is no longer open', async () => {
    const { state } = withRuns('running', 10);
    const api = await open({ state });
    for (const handler of api.listeners.runFrame) handler(state.session - 1, sampleFrame('map_sg-strict', 0, 30));
    await new Promise((resolve) => setTimeout(resolve, 130));
    expect(document.querySelector('td[data-value]')?.textContent ?? '').not.toContain('480');
  });
});

describe('commands', () => {
  it('are found and run from the palette', async () => {
    const api = await open(withRuns('done', 10));
    await press('P', { ctrlKey: true, shiftKey: true });
    const options = [...document.querySelectorAll<HTMLElement>('[role=option]')];
    expect(options.map((option) => option.textContent)).toEqual(
      expect.arrayContaining([expect.stringContaining('Theme: Dark')]),
    );
    options.find((option) => option.textContent.includes('Theme: Dark'))?.click();
    await flushPromises();
    expect(api.calls).toContain('runCommand view.themeDark');
  });

  it('come from the native menu too', async () => {
    const api = await open({ state: sampleState() });
    for (const handler of api.listeners.command) handler('view.showWorkload');
    await nextTick();
    expect(document.querySelector('[role=tab][data-state=active]')?.textContent).toContain('Workload');
  });

  it('are listed with their keys by a question mark', async () => {
    await open({ state: sampleState() });
    await press('?', { shiftKey: true });
    expect(document.querySelector('[role=dialog]')?.textContent).toContain('Run All');
  });

  it('that fail say so in a banner, which can be dismissed', async () => {
    await open({ state: sampleState() }, (lab) => {
      lab.app.runCommand = () =>
        Promise.resolve({ status: 'failed', error: { code: 'cannot-write', message: 'x.iovalab: no space left.' } });
    });
    await press('s', { ctrlKey: true });
    expect(document.querySelector('[role=alert]')?.textContent).toContain('no space left');
    button('Dismiss').click();
    await nextTick();
    expect(document.querySelector('[role=alert]')).toBeNull();
  });
});

describe('the IOVA space of a finished run', () => {
  async function openRun(change: (lab: Mutable<LabApi>) => void = () => undefined): Promise<FakeApi> {
    const api = await open(withRuns('done', 40), change);
    button('map_sg strict, done').click();
    await nextTick();
    return api;
  }

  async function show(moment: string): Promise<void> {
    const field = document.querySelector<HTMLInputElement>('.exact input');
    if (field === null) throw new Error('there is no field for the moment');
    field.value = moment;
    field.dispatchEvent(new Event('input'));
    await nextTick();
    button('Show').click();
    await flushPromises();
  }

  it('is asked for at the moment that was written, and summed up by state', async () => {
    const api = await openRun();
    await show('1.5 ms');
    expect(api.calls).toContain('inspect {"comparisonId":"map_sg-strict","at":1500000000,"walk":null}');
    const states = [...document.querySelectorAll('[aria-label="Show ranges of the state"] button')];
    expect(states.map((one) => one.textContent.replace(/\s+/g, ' ').trim())).toEqual([
      'live 1 (16 KiB)',
      'queued 1 (16 KiB)',
      'cached 1 (16 KiB)',
      'reserved 1 (1 MiB)',
    ]);
    const table = document.querySelector('[role=table][aria-label="Ranges of the IOVA space"]');
    expect(table?.getAttribute('aria-rowcount')).toBe('5');
  });

  it('is not asked for beyond the end of the run, or at what is no time', async () => {
    const api = await openRun();
    await show('2 s');
    expect(document.querySelector('.iova [role=alert]')?.textContent).toContain('The run ends at 2.56 ms');
    await show('later');
    expect(document.querySelector('.iova [role=alert]')?.textContent).toContain('Write a number and a unit');
    expect(api.calls.some((call) => call.startsWith('inspect '))).toBe(false);
  });

  it('can be called off while it is computed, and says why it cannot be', async () => {
    let answer = (): Promise<InspectionOutcome> => new Promise(() => undefined);
    const api = await openRun((lab) => {
      lab.runs.inspect = () => answer();
    });
    await show('1 ms');
    expect(document.querySelector('.iova')?.textContent).toContain('Computing');
    button('Stop').click();
    await flushPromises();
    expect(api.calls).toContain('endInspection');
    answer = () =>
      Promise.resolve({ status: 'failed', error: { code: 'run-failed', message: 'The run needs more memory.' } });
    await show('2 ms');
    expect(document.querySelector('.iova [role=alert]')?.textContent).toContain('The run needs more memory.');
  });
});

describe('after a crash', () => {
  const offer: RecoveryOffer = {
    id: 'x',
    name: 'First run',
    fileName: 'first.iovalab',
    changedAt: Date.UTC(2026, 0, 2),
    bytes: 2048,
    edits: 2,
    finishedRuns: 1,
  };

  it('asks what to do with the work that was found, and Enter keeps it', async () => {
    const api = await open({ state: sampleState() }, (lab) => {
      lab.document.recovery = () => Promise.resolve([offer]);
    });
    const dialog = document.querySelector('[role=alertdialog]');
    expect(dialog?.textContent).toContain('2 edits, 1 finished run');
    await vi.waitFor(() => expect(document.activeElement?.textContent.trim()).toBe('Restore'));
    button('Restore').click();
    await flushPromises();
    expect(api.calls).toContain('restore x');
    expect(document.querySelector('[role=alertdialog]')).toBeNull();
  });
});

describe('a lab file dropped on the window', () => {
  it('is opened, after the window showed that it can be', async () => {
    const api = await open({ state: sampleState() });
    const transfer = { types: ['Files'], files: [new File(['x'], 'a.iovalab')], dropEffect: 'none' };
    const drag = (type: string): void => {
      window.dispatchEvent(Object.assign(new Event(type, { cancelable: true }), { dataTransfer: transfer }));
    };
    drag('dragenter');
    await nextTick();
    expect(document.body.textContent).toContain('Drop to open');
    drag('drop');
    await flushPromises();
    expect(document.body.textContent).not.toContain('Drop to open');
    expect(api.calls.some((call) => call.startsWith('openDropped'))).toBe(true);
  });
});
