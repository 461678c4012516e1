/*
 * The main process put together: what must be said before Electron is ready, and then windows, services and their wires.
 * Electron's security tutorial is followed item by item in the files named here; SECURITY.md lists them.
 */
import { join } from 'node:path';
import { app, crashReporter, protocol } from 'electron';
import { appSchemePrivileges } from './appScheme.ts';
import { parseLaunchArguments, parseSecondInstance } from './launchArguments.ts';
import { describeError } from './describeError.ts';
import { openLog } from './logging.ts';
import { startDesktop } from './startDesktop.ts';

const launch = parseLaunchArguments(process.argv, process.cwd());

app.setName('IOVA Lab');
app.setPath('userData', launch.userDataFolder ?? join(app.getPath('appData'), 'IOVA Lab'));

// As root Chromium's sandbox cannot start, and enabling it here would override the switch that says so.
if (app.isPackaged || !launch.noSandbox) app.enableSandbox();
protocol.registerSchemesAsPrivileged([appSchemePrivileges]);
// Dumps stay in the user data folder.
crashReporter.start({ uploadToServer: false });

if (app.requestSingleInstanceLock()) {
  const log = openLog(join(app.getPath('userData'), 'logs'), !app.isPackaged);
  process.on('uncaughtException', (error) => log.error(describeError(error)));
  process.on('unhandledRejection', (reason) => log.error(describeError(reason)));
  app
    .whenReady()
    .then(() => startDesktop(launch.labFile, log))
    .then((desktop) => {
      app.on('second-instance', (_event, argv, workingFolder) => {
        desktop.focus(parseSecondInstance(argv, workingFolder).labFile);
      });
    })
    .catch((error: unknown) => {
      log.error(describeError(error));
      app.exit(1);
    });
} else {
  app.quit();
}
