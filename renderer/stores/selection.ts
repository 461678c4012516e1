/** The one selection that all panes share, and the chart that commands without a chart of their own mean. */
import { defineStore } from 'pinia';
import { computed, ref, shallowRef } from 'vue';
import type { ChartId } from '../../engine/lab/chartOptions.ts';

export type Selected =
  | { readonly kind: 'part'; readonly id: string }
  | { readonly kind: 'workload'; readonly id: string }
  | { readonly kind: 'run'; readonly id: string };

export const useSelection = defineStore('selection', () => {
  const selected = shallowRef<Selected | null>(null);
  /** The id of the run that is selected. */
  const selectedRun = computed(() => (selected.value?.kind === 'run' ? selected.value.id : null));
  const chart = ref<ChartId>('iotlb-misses');
  /** A moment of virtual time that was chosen in a chart, picoseconds. */
  const moment = ref<number | null>(null);
  /** Columns that the charts leave out. */
  const hiddenRuns = shallowRef<ReadonlySet<string>>(new Set());

  function select(next: Selected | null): void {
    const now = selected.value;
    if (now?.kind === next?.kind && now?.id === next?.id) return;
    selected.value = next;
  }

  function isSelected(kind: Selected['kind'], id: string): boolean {
    return selected.value?.kind === kind && selected.value.id === id;
  }

  function toggleRun(id: string): void {
    const next = new Set(hiddenRuns.value);
    if (!next.delete(id)) next.add(id);
    hiddenRuns.value = next;
  }

  return { selected, selectedRun, chart, moment, hiddenRuns, select, isSelected, toggleRun };
});
