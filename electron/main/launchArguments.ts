/*
 * What the app was started with. Read from process.argv, since Chromium rewrites the switches that it sees; the arguments of
 * a second instance come from another process and are treated as input from outside.
 */
import { isAbsolute, resolve } from 'node:path';

export const labExtension = '.iovalab';

/** Arguments beyond this are somebody's mistake or attack, not a command line. */
const maximumArguments = 256;
const maximumLength = 4096;

export interface LaunchArguments {
  /** Absolute path of the lab to open, if one was named. */
  readonly labFile: string | null;
  readonly noSandbox: boolean;
  readonly userDataFolder: string | null;
}

export function parseLaunchArguments(argv: readonly string[], workingFolder: string): LaunchArguments {
  let labFile: string | null = null;
  let noSandbox = false;
  let userDataFolder: string | null = null;
  for (const argument of argv.slice(1, maximumArguments)) {
    if (argument.length > maximumLength || argument.includes('\0')) continue;
    if (argument === '--no-sandbox') noSandbox = true;
    else if (argument.startsWith('--user-data-dir=')) {
      userDataFolder = resolve(workingFolder, argument.slice('--user-data-dir='.length));
    }
    // An unpackaged app's own folder stands among the arguments too, so a lab is known by its name.
    else if (!argument.startsWith('-') && argument.toLowerCase().endsWith(labExtension)) {
      labFile ??= isAbsolute(argument) ? argument : resolve(workingFolder, argument);
    }
  }
  return { labFile, noSandbox, userDataFolder };
}

/** Electron types what a second instance sends as strings, but the bytes come over a socket. */
export function parseSecondInstance(argv: unknown, workingFolder: unknown): LaunchArguments {
  const list = Array.isArray(argv) ? argv.filter((item): item is string => typeof item === 'string') : [];
  const folder = typeof workingFolder === 'string' && isAbsolute(workingFolder) ? workingFolder : '/';
  return parseLaunchArguments(list, folder);
}
