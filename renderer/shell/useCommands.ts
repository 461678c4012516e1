/** What each command of the registry does in the page, and whether it can be done now. Main does its own when asked. */
import type { CommandId } from '../../electron/ipc/commands.ts';
import { resetChartZoom } from '../charts/chartGroup.ts';
import { useLab } from '../stores/lab.ts';
import { useLayout } from '../stores/layout.ts';
import { useNotices } from '../stores/notices.ts';
import { useSelection } from '../stores/selection.ts';
import { strings } from '../strings.ts';

export interface CommandRunner {
  run(id: CommandId, argument?: string | null): void;
  isEnabled(id: CommandId): boolean;
}

export function useCommands(): CommandRunner {
  const lab = useLab();
  const layout = useLayout();
  const notices = useNotices();
  const selection = useSelection();

  function attempt(...actions: ReturnType<typeof window.lab.runs.pause>[]): void {
    for (const action of actions) void notices.attempt(action);
  }

  async function copyCommandLine(): Promise<void> {
    try {
      await navigator.clipboard.writeText(await window.lab.runs.commandLine());
      notices.addMessage({ severity: 'info', text: strings.run.commandLineCopied, at: Date.now() });
      notices.announcement = strings.run.commandLineCopied;
    } catch (problem) {
      notices.failWith(problem);
    }
  }

  function showCharts(): void {
    layout.stage = 'charts';
  }

  /** The IOMMU that is selected, else the first. */
  function chosenIommu(): string | null {
    const iommus = lab.state?.lab.topology.parts.filter(({ kind }) => kind === 'iommu') ?? [];
    return (iommus.find(({ id }) => selection.isSelected('part', id)) ?? iommus[0])?.id ?? null;
  }

  function exportChart(format: 'png' | 'svg' | 'csv'): void {
    attempt(window.lab.exports.chart({ chart: selection.chart, format, ...(format === 'png' ? { scale: 2 } : {}) }));
  }

  const inPage: Partial<Record<CommandId, (argument: string | null) => void>> = {
    'file.openRecent': (id) => id !== null && attempt(window.lab.document.openRecent(id)),
    'file.openExample': (id) => id !== null && attempt(window.lab.document.openExample(id)),
    'edit.undo': () => attempt(window.lab.document.undo()),
    'edit.redo': () => attempt(window.lab.document.redo()),
    'edit.measuredCurve': () => layout.openCurve(chosenIommu() ?? ''),
    'run.start': () => {
      showCharts();
      attempt(window.lab.runs.start([]));
    },
    'run.pause': () => attempt(...lab.running.map(({ comparison }) => window.lab.runs.pause(comparison.id))),
    'run.resume': () => attempt(...lab.paused.map(({ comparison }) => window.lab.runs.resume(comparison.id))),
    'run.cancel': () =>
      attempt(...[...lab.running, ...lab.paused].map(({ comparison }) => window.lab.runs.cancel(comparison.id))),
    'run.copyCommandLine': () => void copyCommandLine(),
    'view.palette': () => {
      layout.dialog = layout.dialog === 'palette' ? null : 'palette';
    },
    'view.showTopology': () => {
      layout.stage = 'topology';
    },
    'view.showWorkload': () => {
      layout.stage = 'workload';
    },
    'view.showCharts': showCharts,
    'view.showPresets': () => {
      layout.stage = 'presets';
    },
    'view.showTranslation': () => {
      layout.stage = 'translation';
    },
    'view.showCompare': () => {
      layout.openPanel('summary');
    },
    'view.toggleOutline': () => layout.toggle('outline'),
    'view.toggleInspector': () => layout.toggle('inspector'),
    'view.togglePanel': () => layout.toggle('panel'),
    'view.resetPanes': () => layout.reset(),
    'chart.exportPng': () => exportChart('png'),
    'chart.exportSvg': () => exportChart('svg'),
    'chart.exportCsv': () => exportChart('csv'),
    'chart.resetZoom': resetChartZoom,
    'help.shortcuts': () => {
      layout.dialog = layout.dialog === 'keys' ? null : 'keys';
    },
  };

  const needs: Partial<Record<CommandId, () => boolean>> = {
    'edit.undo': () => (lab.state?.undo ?? null) !== null,
    'edit.redo': () => (lab.state?.redo ?? null) !== null,
    'edit.measuredCurve': () => chosenIommu() !== null,
    'file.save': () => lab.state !== null,
    'file.saveAs': () => lab.state !== null,
    'file.revert': () => lab.state?.dirty === true && lab.state.fileName !== null,
    'file.exportAll': () => lab.hasResults,
    'run.start': () => lab.state !== null && !lab.active,
    'run.pause': () => lab.running.length > 0,
    'run.resume': () => lab.paused.length > 0,
    'run.cancel': () => lab.active,
    'run.copyCommandLine': () => lab.state !== null,
    'chart.exportPng': () => lab.hasResults,
    'chart.exportSvg': () => lab.hasResults,
    'chart.exportCsv': () => lab.hasResults,
    'chart.resetZoom': () => lab.hasResults,
  };

  function isEnabled(id: CommandId): boolean {
    return needs[id]?.() ?? true;
  }

  function run(id: CommandId, argument: string | null = null): void {
    if (!isEnabled(id)) return;
    const own = inPage[id];
    if (own) own(argument);
    else attempt(window.lab.app.runCommand(id));
  }

  return { run, isEnabled };
}
