/*
 * Wires the services to Electron once it is ready: session rules, IPC, window, menu, the first lab.
 */
import { readFile } from 'node:fs/promises';
import { unwatchFile, watchFile } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import {
  app,
  ipcMain,
  Menu,
  MessageChannelMain,
  nativeTheme,
  protocol,
  session,
  shell,
  type BrowserWindow,
} from 'electron';
import { z } from 'zod';
import { parseLab } from '../../engine/lab/check.ts';
import { withValueAt } from '../../engine/lab/documentPath.ts';
import type { AppMessage, ExampleLab } from '../ipc/api.ts';
import type { CommandId } from '../ipc/commands.ts';
import type { EventArguments, EventName } from '../ipc/contract.ts';
import { framePortChannel } from '../ipc/framePort.ts';
import { appInfo, showAbout } from './about.ts';
import { appOrigin, createPageHandler, listPageFiles } from './appScheme.ts';
import { nativeDialogs } from './dialogs.ts';
import { DocumentService } from './documentService.ts';
import { ExampleCatalogue } from './examples.ts';
import { ExportService } from './exportService.ts';
import { fileTasks } from './fileWorker.ts';
import { FrameChannel } from './frameChannel.ts';
import { commandRunner, createHandlers, type Desktop } from './handlers.ts';
import { InspectionService } from './inspectionService.ts';
import { registerHandlers } from './ipcRegistry.ts';
import { openFirstLab } from './firstLab.ts';
import { describeError } from './describeError.ts';
import type { Logger } from './logging.ts';
import { menuTemplate } from './menu.ts';
import { cancelNetwork } from './noNetwork.ts';
import * as paths from './paths.ts';
import { restrictPermissions } from './permissions.ts';
import { recentFiles } from './recentFiles.ts';
import { RunService } from './runService.ts';
import { openSettings } from './settings.ts';
import { boundsOf, createWindow } from './window.ts';

export interface RunningDesktop {
  /** A second start of the app: show the window, and open the lab that was named. */
  focus(labFile: string | null): void;
}

/** A run may not take the whole machine with it. */
const runMemoryMegabytes = 3072;
const watchMilliseconds = 1000;

export async function startDesktop(labFile: string | null, log: Logger): Promise<RunningDesktop> {
  const userData = app.getPath('userData');
  const homeFolder = app.getPath('home');
  const developmentPage = app.isPackaged ? undefined : process.env['ELECTRON_RENDERER_URL'];
  const origin = developmentPage === undefined ? appOrigin : new URL(developmentPage).origin;
  const settings = await openSettings(join(userData, 'settings.json'), (message) => log.warn(message));
  const { version } = z.object({ version: z.string() }).parse(JSON.parse(await readFile(paths.packageFile, 'utf8')));

  protocol.handle('lab', createPageHandler(await listPageFiles(paths.pageFolder, { sourceMaps: !app.isPackaged })));
  restrictPermissions(session.defaultSession, origin);
  cancelNetwork(session.defaultSession, developmentPage === undefined ? null : origin, (address) =>
    log.warn(`refused a request to ${address.slice(0, 200)}`),
  );

  let window: BrowserWindow | null = null;
  const send = <Name extends EventName>(name: Name, ...args: EventArguments[Name]): void => {
    if (window !== null && !window.webContents.isDestroyed()) window.webContents.send(name, ...args);
  };
  let pageLoaded = false;
  const unsaid: AppMessage[] = [];
  const say = (severity: 'info' | 'warning' | 'error', text: string): void => {
    const message: AppMessage = { severity, text, at: Date.now() };
    if (pageLoaded) send('event.message', message);
    else unsaid.push(message);
  };
  const logError = (message: string): void => log.error(message);

  const task = fileTasks(paths.exportWorkerFile, logError);
  const dialogs = nativeDialogs(() => window);
  const examples = new ExampleCatalogue(paths.examplesFolder, task, logError);
  const frames = new FrameChannel();
  const runs: RunService = new RunService({
    startThread: (input) =>
      new Worker(paths.runWorkerFile, {
        workerData: input,
        resourceLimits: { maxOldGenerationSizeMb: runMemoryMegabytes },
      }),
    stateChanged: (state) => send('event.runState', document.currentSession, state),
    framed: (frame) => frames.send(document.currentSession, frame),
    finished: (result) => void document.keepResult(result),
    log: logError,
  });
  let shownSession = 0;
  const document: DocumentService = new DocumentService({
    task,
    dialogs,
    settings,
    runs,
    homeFolder,
    recoveryFolder: join(userData, 'recovery'),
    applyEdit: (lab, changes) =>
      parseLab(
        changes.reduce<unknown>((next, { path, value }) => withValueAt(next, path, value), lab),
        '',
      ),
    watch: (path, changed) => {
      watchFile(path, { interval: watchMilliseconds, persistent: false }, changed);
      return () => unwatchFile(path, changed);
    },
    changed: () => {
      if (document.currentSession !== shownSession) {
        shownSession = document.currentSession;
        frames.clear();
        inspection.end();
        updateMenu();
      }
      window?.setTitle(`${document.displayName}${document.dirty ? ' *' : ''} - IOVA Lab`);
      send('event.document', document.state());
    },
    say,
    log: logError,
  });
  const inspection = new InspectionService({
    startThread: (input) =>
      new Worker(paths.inspectWorkerFile, {
        workerData: input,
        resourceLimits: { maxOldGenerationSizeMb: runMemoryMegabytes },
      }),
    inspectable: (comparisonId) => runs.inspectable(comparisonId),
    progressed: (progress) => send('event.inspection', progress),
    log: logError,
  });
  const exports = new ExportService({
    task,
    dialogs,
    settings,
    homeFolder,
    fontsFolder: paths.fontsFolder,
    contents: () => document.contents,
    results: () => runs.results(),
    documentName: () => document.displayName,
    say,
  });

  const applySettings = (): void => {
    nativeTheme.themeSource = settings.current.theme;
    updateMenu();
    send('event.settings', { theme: settings.current.theme, panes: settings.current.panes });
  };

  const ready = openFirstLab({ labFile, document, examples, settings, task, folder: userData, say });
  const info = appInfo(version);
  const desktop: Desktop = {
    document,
    ready,
    runs,
    inspection,
    exports,
    examples,
    settings,
    info,
    homeFolder,
    packaged: app.isPackaged,
    settingsChanged: applySettings,
    sendCommand: (id) => send('event.command', id),
    zoom: (change) => {
      const contents = window?.webContents;
      contents?.setZoomLevel(change === 0 ? 0 : contents.getZoomLevel() + change / 2);
    },
    toggleFullScreen: () => window?.setFullScreen(!window.isFullScreen()),
    toggleDeveloperTools: () => window?.webContents.toggleDevTools(),
    openFolder: (which) => void shell.openPath(which === 'logs' ? join(userData, 'logs') : userData),
    showAbout: () => {
      if (window !== null) void showAbout(window, info);
    },
    quit: () => app.quit(),
    logError,
  };
  const runCommand = commandRunner(desktop);
  const runFromMenu = async (id: CommandId, argument: string | null): Promise<void> => {
    const outcome = await runCommand(id, argument);
    if (outcome.status === 'failed') say('error', outcome.error.message);
  };

  let exampleList: readonly ExampleLab[] = [];
  function updateMenu(): void {
    const template = menuTemplate(
      {
        recent: recentFiles(settings.current.recent, homeFolder),
        examples: exampleList,
        theme: settings.current.theme,
        development: !app.isPackaged,
      },
      (id, argument) => void runFromMenu(id, argument),
    );
    Menu.setApplicationMenu(Menu.buildFromTemplate(template));
  }

  registerHandlers(ipcMain, origin, createHandlers(desktop, runCommand), (channel, error) =>
    log.error(`${channel}: ${describeError(error)}`),
  );
  nativeTheme.themeSource = settings.current.theme;
  updateMenu();

  window = createWindow(settings.current.window, !app.isPackaged);
  connect(window);
  void ready.then(async () => {
    exampleList = await examples.list();
    updateMenu();
  });

  function connect(opened: BrowserWindow): void {
    const { webContents } = opened;
    webContents.on('did-finish-load', () => {
      const { port1, port2 } = new MessageChannelMain();
      frames.attach(port1);
      webContents.postMessage(framePortChannel, null, [port2]);
      pageLoaded = true;
      for (const message of unsaid.splice(0)) send('event.message', message);
    });
    webContents.on('render-process-gone', (_event, { reason }) => {
      log.error(`the page's process ended: ${reason}`);
      frames.detach();
      // Main holds the document, so the page loses nothing that it cannot ask for again.
      if (reason !== 'clean-exit' && !opened.isDestroyed()) setTimeout(() => webContents.reload(), 500);
    });
    webContents.on('unresponsive', () => log.warn('the page does not answer'));
    webContents.on('preload-error', (_event, _path, error) => log.error(describeError(error)));
    let leaving = false;
    opened.on('close', (event) => {
      settings.change({ window: boundsOf(opened) });
      if (leaving) return;
      event.preventDefault();
      void document.mayClose().then(async (yes) => {
        if (!yes) return;
        leaving = true;
        await settings.flush();
        opened.destroy();
      });
    });
    opened.on('closed', () => {
      window = null;
    });
    void opened
      .loadURL(developmentPage ?? `${appOrigin}/index.html`)
      .catch((error: unknown) => logError(describeError(error)));
  }

  app.on('child-process-gone', (_event, { type, reason }) => log.warn(`a ${type} process ended: ${reason}`));
  app.on('window-all-closed', () => app.quit());

  return {
    focus(otherLab) {
      if (window === null) return;
      if (window.isMinimized()) window.restore();
      window.focus();
      if (otherLab === null) return;
      void document.openPath(otherLab).then((outcome) => {
        if (outcome.status === 'failed') say('error', outcome.error.message);
      });
    },
  };
}
