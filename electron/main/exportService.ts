/*
 * Exports, drawn in a thread from the results alone: neither the window's size nor its theme shows in them.
 */
import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CHART_IDS, CHART_TITLES } from '../../engine/lab/chartOptions.ts';
import type { LabFile } from '../../engine/lab/container.ts';
import type { RunResult } from '../../engine/lab/runTypes.ts';
import type { Outcome } from '../ipc/api.ts';
import { chooseTarget, fileNameFrom } from './chooseTarget.ts';
import type { LabDialogs } from './dialogs.ts';
import { cancelled, DesktopError, done } from './failures.ts';
import type { RunFileTask } from './fileWorker.ts';
import type { SettingsStore } from './settings.ts';

export interface ExportSurroundings {
  readonly task: RunFileTask;
  readonly dialogs: LabDialogs;
  readonly settings: SettingsStore;
  readonly homeFolder: string;
  readonly fontsFolder: string;
  readonly contents: () => LabFile;
  readonly results: () => readonly RunResult[];
  readonly documentName: () => string;
  readonly say: (severity: 'info' | 'warning' | 'error', text: string) => void;
}

export interface ChartRequest {
  readonly chart: string;
  readonly format: 'png' | 'svg' | 'csv';
  readonly scale?: 1 | 2;
}

const kinds = { png: 'PNG image', svg: 'SVG image', csv: 'Comma-separated values' } as const;

export class ExportService {
  private readonly surroundings: ExportSurroundings;

  constructor(surroundings: ExportSurroundings) {
    this.surroundings = surroundings;
  }

  async chart({ chart, format, scale = 2 }: ChartRequest): Promise<Outcome> {
    const { task, dialogs, settings, homeFolder, documentName, contents, say } = this.surroundings;
    const known = CHART_IDS.find((id) => id === chart);
    if (known === undefined) throw new DesktopError('not-found', `There is no chart named ${chart}.`);
    const results = this.finishedResults();
    const path = await chooseTarget(dialogs, {
      title: `Export ${CHART_TITLES[known]}`,
      folder: settings.current.lastFolder ?? homeFolder,
      name: `${documentName()} ${known}`,
      kind: kinds[format],
      extension: `.${format}`,
    });
    if (path === null) return cancelled;
    const { lab } = contents();
    await task('exportChart', { path, lab, results, chart: known, format, scale, fontFiles: await this.fontFiles() });
    settings.change({ lastFolder: dirname(path) });
    say('info', `Exported ${CHART_TITLES[known]} as ${format.toUpperCase()}.`);
    return done;
  }

  async all(): Promise<Outcome> {
    const { task, dialogs, settings, homeFolder, documentName, contents, say } = this.surroundings;
    const results = this.finishedResults();
    const chosen = await dialogs.chooseFolder({
      title: 'Export Everything to a Folder',
      path: settings.current.lastFolder ?? homeFolder,
    });
    if (chosen === null) return cancelled;
    const name = fileNameFrom(documentName());
    // A folder of its own: the names inside are fixed, and would replace those of another lab.
    const folder = join(chosen, `${name} export`);
    const written = await task('exportAll', {
      folder,
      contents: contents(),
      results,
      name,
      fontFiles: await this.fontFiles(),
    });
    settings.change({ lastFolder: chosen });
    say('info', `Exported ${written.length} files to the folder "${name} export".`);
    return done;
  }

  private finishedResults(): readonly RunResult[] {
    const results = this.surroundings.results();
    if (results.length === 0) {
      throw new DesktopError('not-found', 'There is nothing to export yet. Run the lab first.');
    }
    return results;
  }

  private async fontFiles(): Promise<string[]> {
    const { fontsFolder } = this.surroundings;
    const names = await readdir(fontsFolder).catch(() => []);
    return names.filter((name) => /\.(ttf|otf)$/.test(name)).map((name) => join(fontsFolder, name));
  }
}
