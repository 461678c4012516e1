/*
 * One log file in the user data folder, which people can read and attach to a report; nothing leaves the machine.
 * electron-log's Node build, since its Electron build opens IPC channels of its own beside our registry.
 */
import { join } from 'node:path';
import log from 'electron-log/node';

export interface Logger {
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

export function openLog(folder: string, toTerminal: boolean): Logger {
  log.transports.file.resolvePathFn = () => join(folder, 'main.log');
  log.transports.file.maxSize = 2 << 20;
  log.transports.file.level = 'info';
  log.transports.console.level = toTerminal ? 'warn' : false;
  return log;
}
