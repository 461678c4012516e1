/**
 * Which tab is in front, which panes are open and how large they are. Sizes are percent and are kept by main among the
 * user's settings, not in the lab: how a person likes a window does not belong to the document.
 */
import { defineStore } from 'pinia';
import { computed, ref, shallowRef } from 'vue';
import type { AppSettings, ThemeChoice } from '../../electron/ipc/api.ts';
import { useNotices } from './notices.ts';

export type StageTab = 'topology' | 'workload' | 'charts' | 'translation' | 'presets';
export type PanelTab = 'summary' | 'events' | 'faults';
export type PaneName = 'outline' | 'inspector' | 'panel';
export type Dialog = 'palette' | 'keys' | 'curve' | null;

const DEFAULT_PANES: Readonly<Record<string, number>> = {
  outline: 16,
  inspector: 22,
  panel: 31,
  'outline.closed': 0,
  'inspector.closed': 0,
  'panel.closed': 0,
};

const SAVE_DELAY_MS = 400;

export const useLayout = defineStore('layout', () => {
  const notices = useNotices();
  const stage = ref<StageTab>('topology');
  const panelTab = ref<PanelTab>('summary');
  const dialog = ref<Dialog>(null);
  /** The IOMMU whose preset the dialog about a measured curve makes. */
  const curveOf = ref('');
  /** Where the presets are to be looked at: the id of a part, or another name of a section; '': wherever they are. */
  const presetPlace = ref('');
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
    change({ [`${pane}.closed`]: isClosed(pane) ? 0 : 1 });
  }

  function open(pane: PaneName): void {
    if (isClosed(pane)) toggle(pane);
  }

  function openPanel(tab: PanelTab): void {
    open('panel');
    panelTab.value = tab;
  }

  function openCurve(iommuId: string): void {
    curveOf.value = iommuId;
    dialog.value = 'curve';
  }

  function showPresets(place: string): void {
    stage.value = 'presets';
    presetPlace.value = place;
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
    curveOf,
    presetPlace,
    panes,
    theme,
    dark,
    resets,
    size,
    isClosed,
    resize,
    toggle,
    openPanel,
    openCurve,
    showPresets,
    reset,
    connect,
  };
});
