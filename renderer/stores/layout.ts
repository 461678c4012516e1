/**
 * Which tab is in front, which panes are open and how large they are. Sizes are percent and are kept by main among the
 * user's settings, not in the lab: how a person likes a window does not belong to the document. The lower panel opens by itself
 * when there is something in it, until the user has said whether it shall be open.
 */
import { defineStore } from 'pinia';
import { computed, ref, shallowRef } from 'vue';
import type { AppSettings, ThemeChoice } from '../../electron/ipc/api.ts';
import { useLab } from './lab.ts';
import { useNotices } from './notices.ts';

export type StageTab = 'topology' | 'workload' | 'charts' | 'translation' | 'presets';
export type PanelTab = 'summary' | 'events' | 'faults';
export type PaneName = 'outline' | 'inspector' | 'panel';
export type Dialog = 'palette' | 'keys' | 'measuredPreset' | null;

const DEFAULT_PANES: Readonly<Record<string, number>> = {
  outline: 16,
  inspector: 22,
  panel: 31,
  'outline.closed': 0,
  'inspector.closed': 0,
};
/** Of the lower panel: 1 open, 0 closed, absent as long as the user has not said. */
const PANEL_CHOICE = 'panel.shown';

const SAVE_DELAY_MS = 400;

export const useLayout = defineStore('layout', () => {
  const notices = useNotices();
  const lab = useLab();
  const stage = ref<StageTab>('topology');
  const panelTab = ref<PanelTab>('summary');
  const dialog = ref<Dialog>(null);
  const panes = shallowRef<Readonly<Record<string, number>>>(DEFAULT_PANES);
  const theme = ref<ThemeChoice>('system');
  const systemDark = ref(false);
  /** Grows when sizes are set from outside the splitters, which then have to follow. */
  const resets = ref(0);
  let timer: ReturnType<typeof setTimeout> | null = null;

  const dark = computed(() => (theme.value === 'system' ? systemDark.value : theme.value === 'dark'));

  function size(pane: PaneName): number {
    return panes.value[pane] ?? DEFAULT_PANES[pane] ?? 20;
  }

  function isClosed(pane: PaneName): boolean {
    if (pane === 'panel') return (panes.value[PANEL_CHOICE] ?? 1) === 0;
    return panes.value[`${pane}.closed`] === 1;
  }

  function change(changes: Readonly<Record<string, number>>): void {
    keep({ ...panes.value, ...changes });
  }

  function keep(next: Readonly<Record<string, number>>): void {
    panes.value = next;
    if (timer !== null) clearTimeout(timer);
    timer = setTimeout(() => {
      timer = null;
      window.lab.app.setPanes(panes.value).catch((problem: unknown) => notices.failWith(problem));
    }, SAVE_DELAY_MS);
  }

  function resize(pane: PaneName, percent: number): void {
    if (percent > 0 && Math.abs(percent - size(pane)) > 0.05) change({ [pane]: Math.round(percent * 10) / 10 });
  }

  function toggle(pane: PaneName): void {
    const closed = isClosed(pane);
    change(pane === 'panel' ? { [PANEL_CHOICE]: closed ? 1 : 0 } : { [`${pane}.closed`]: closed ? 0 : 1 });
  }

  function open(pane: PaneName): void {
    if (isClosed(pane)) toggle(pane);
  }

  function openPanel(tab: PanelTab): void {
    open('panel');
    panelTab.value = tab;
  }

  function reset(): void {
    keep(DEFAULT_PANES);
    resets.value += 1;
  }

  function settingsArrived(settings: AppSettings): void {
    theme.value = settings.theme;
    document.documentElement.dataset['theme'] = settings.theme;
  }

  async function connect(): Promise<void> {
    const media = window.matchMedia('(prefers-color-scheme: dark)');
    systemDark.value = media.matches;
    media.addEventListener('change', (event) => {
      systemDark.value = event.matches;
    });
    window.lab.events.onSettings(settingsArrived);
    try {
      const settings = await window.lab.app.settings();
      panes.value = { ...DEFAULT_PANES, ...settings.panes };
      settingsArrived(settings);
    } catch (problem) {
      notices.failWith(problem);
    }
  }

  return {
    stage,
    panelTab,
    dialog,
    panes,
    theme,
    dark,
    resets,
    size,
    isClosed,
    resize,
    toggle,
    openPanel,
    reset,
    connect,
  };
});
