/*
 * What each channel of the contract does, and what each command that belongs to main does. The records are complete by type:
 * a channel or a command without an entry does not compile.
 */
import type { AppInfo, LabFailure, Outcome } from '../ipc/api.ts';
import { findCommand, type CommandId, type commands } from '../ipc/commands.ts';
import { commandLine } from './commandLine.ts';
import { describeError } from './describeError.ts';
import type { DocumentService } from './documentService.ts';
import type { ExampleCatalogue } from './examples.ts';
import type { ExportService } from './exportService.ts';
import { DesktopError, done, failed, failureOf } from './failures.ts';
import type { InspectionService } from './inspectionService.ts';
import type { Handlers } from './ipcRegistry.ts';
import { labExtension } from './launchArguments.ts';
import { recentFiles, recentPath } from './recentFiles.ts';
import type { RunService } from './runService.ts';
import type { SettingsStore } from './settings.ts';

export interface Desktop {
  readonly document: DocumentService;
  /** Resolves when the first lab is open. */
  readonly ready: Promise<void>;
  readonly runs: RunService;
  readonly inspection: InspectionService;
  readonly exports: ExportService;
  readonly examples: ExampleCatalogue;
  readonly settings: SettingsStore;
  readonly info: AppInfo;
  readonly homeFolder: string;
  readonly packaged: boolean;
  /** Settings changed: the menu, the theme and the page follow. */
  settingsChanged(): void;
  sendCommand(id: CommandId): void;
  zoom(change: -1 | 0 | 1): void;
  toggleFullScreen(): void;
  toggleDeveloperTools(): void;
  openFolder(which: 'logs' | 'userData'): void;
  showAbout(): void;
  quit(): void;
  logError(message: string): void;
}

type MainCommandId = Extract<(typeof commands)[number], { runsIn: 'main' }>['id'];
type MainCommand = (argument: string | null) => Outcome | Promise<Outcome>;

async function attempt(desktop: Desktop, action: () => Outcome | Promise<Outcome>): Promise<Outcome> {
  try {
    return await action();
  } catch (error) {
    const failure: LabFailure = failureOf(error);
    if (failure.code === 'internal') {
      desktop.logError(describeError(error));
    }
    return failed(failure);
  }
}

function openRecent({ document, settings }: Desktop, id: string): Promise<Outcome> {
  const path = recentPath(settings.current.recent, id);
  if (path === null) throw new DesktopError('not-found', 'That file is no longer in the list of recent files.');
  return document.openPath(path);
}

async function openExample({ document, examples }: Desktop, id: string): Promise<Outcome> {
  return document.openCopy(await examples.pathOf(id));
}

function chosen(argument: string | null): string {
  if (argument === null) throw new DesktopError('bad-request', 'Choose a lab from the list.');
  return argument;
}

function mainCommands(desktop: Desktop): Readonly<Record<MainCommandId, MainCommand>> {
  const { document, exports } = desktop;
  const plainly = (action: () => void) => () => {
    action();
    return done;
  };
  const setTheme = (theme: 'system' | 'dark' | 'light') =>
    plainly(() => {
      desktop.settings.change({ theme });
      desktop.settingsChanged();
    });
  return {
    'file.open': () => document.openDialog(),
    'file.openRecent': (argument) => openRecent(desktop, chosen(argument)),
    'file.openExample': (argument) => openExample(desktop, chosen(argument)),
    'file.save': () => document.save(),
    'file.saveAs': () => document.saveAs(),
    'file.revert': () => document.revert(),
    'file.exportAll': () => exports.all(),
    'file.quit': plainly(() => desktop.quit()),
    'view.themeSystem': setTheme('system'),
    'view.themeDark': setTheme('dark'),
    'view.themeLight': setTheme('light'),
    'view.zoomIn': plainly(() => desktop.zoom(1)),
    'view.zoomOut': plainly(() => desktop.zoom(-1)),
    'view.zoomReset': plainly(() => desktop.zoom(0)),
    'view.fullScreen': plainly(() => desktop.toggleFullScreen()),
    'view.developerTools': plainly(() => desktop.toggleDeveloperTools()),
    'help.openLogs': plainly(() => desktop.openFolder('logs')),
    'help.openUserData': plainly(() => desktop.openFolder('userData')),
    'help.about': plainly(() => desktop.showAbout()),
  };
}

/** The one place that decides where a command is done. */
export function commandRunner(desktop: Desktop): (id: CommandId, argument: string | null) => Promise<Outcome> {
  const own: ReadonlyMap<string, MainCommand> = new Map(Object.entries(mainCommands(desktop)));
  return (id, argument) =>
    attempt(desktop, () => {
      if (findCommand(id).developmentOnly === true && desktop.packaged) {
        throw new DesktopError('forbidden', 'This command is for developers.');
      }
      const command = own.get(id);
      if (command !== undefined) return command(argument);
      desktop.sendCommand(id);
      return done;
    });
}

export function createHandlers(
  desktop: Desktop,
  runCommand: (id: CommandId, argument: string | null) => Promise<Outcome>,
): Handlers {
  const { document, runs, exports, examples, settings } = desktop;
  const act = (action: () => Outcome | Promise<Outcome>) => attempt(desktop, action);
  const runAction = (action: () => void) =>
    act(() => {
      action();
      return done;
    });
  return {
    'document.current': async () => {
      await desktop.ready;
      return document.state();
    },
    'document.openDialog': () => document.openDialog(),
    'document.openDropped': (path) =>
      act(() => {
        if (path === '') throw new DesktopError('bad-file', 'What was dropped is not a file of this computer.');
        return document.openPath(path);
      }),
    'document.openRecent': (id) => act(() => openRecent(desktop, id)),
    'document.openExample': (id) => act(() => openExample(desktop, id)),
    'document.recent': () => recentFiles(settings.current.recent, desktop.homeFolder),
    'document.clearRecent': () =>
      runAction(() => {
        settings.change({ recent: [] });
        desktop.settingsChanged();
      }),
    'document.examples': () => examples.list(),
    'document.save': () => document.save(),
    'document.saveAs': () => document.saveAs(),
    'document.edit': (changes) => document.edit(changes),
    'document.undo': () => document.undo(),
    'document.redo': () => document.redo(),
    'document.revert': () => document.revert(),
    'document.recovery': () => document.recoveries(),
    'document.restore': (id) => document.restore(id),
    'document.openSaved': (id) => document.openSaved(id),
    'document.discardRecovery': (id) => document.discardRecovery(id),

    'runs.start': (ids) =>
      runAction(() => {
        // Runs are to have the memory and the cores.
        desktop.inspection.end();
        runs.start(ids);
      }),
    'runs.pause': (id) => runAction(() => runs.pause(id)),
    'runs.resume': (id) => runAction(() => runs.resume(id)),
    'runs.cancel': (id) => runAction(() => runs.cancel(id)),
    'runs.frame': (id) => runs.frame(id),
    'runs.inspect': (request) => desktop.inspection.inspect(request),
    'runs.endInspection': () => runAction(() => desktop.inspection.end()),
    'runs.commandLine': () => {
      const { fileName, lab } = document.state();
      return commandLine(fileName ?? `${lab.name}${labExtension}`, desktop.packaged);
    },

    'exports.chart': (request) => act(() => exports.chart(request)),
    'exports.all': () => act(() => exports.all()),

    'app.info': () => desktop.info,
    'app.settings': () => ({ theme: settings.current.theme, panes: settings.current.panes }),
    'app.setTheme': (theme) =>
      runAction(() => {
        settings.change({ theme });
        desktop.settingsChanged();
      }),
    'app.setPanes': (panes) => runAction(() => settings.change({ panes })),
    // Asked by the page, so what belongs to the page is not sent back to it.
    'app.runCommand': (id) =>
      act(() => {
        if (findCommand(id).runsIn !== 'main') throw new DesktopError('bad-request', 'The page does this itself.');
        return runCommand(id, null);
      }),
    'app.reportError': (message) => runAction(() => desktop.logError(`page: ${message}`)),
  };
}
