/*
 * The about box, and what the app says of itself.
 */
import { app, dialog, nativeImage, type BrowserWindow } from 'electron';
import type { AppInfo } from '../ipc/api.ts';
import { iconFile } from './paths.ts';

const licenses = [
  'IOVA Lab is free software under the Apache License 2.0.',
  'It contains Electron, Vue, Vue Flow, Reka UI, Pinia and zod (MIT), Chromium (BSD), Apache ECharts (Apache 2.0), ELK (EPL 2.0) and resvg (MPL 2.0).',
  'The file NOTICE lists them all.',
].join('\n');

export function appInfo(version: string): AppInfo {
  return {
    name: app.getName(),
    version,
    electron: process.versions.electron,
    chromium: process.versions.chrome,
    node: process.versions.node,
    platform: `${process.platform} ${process.arch}`,
    license: licenses,
  };
}

export async function showAbout(window: BrowserWindow, info: AppInfo): Promise<void> {
  await dialog.showMessageBox(window, {
    type: 'info',
    icon: nativeImage.createFromPath(iconFile).resize({ width: 96 }),
    title: `About ${info.name}`,
    message: `${info.name} ${info.version}`,
    detail: [
      'The laboratory for DMA mapping.',
      '',
      `Electron ${info.electron}, Chromium ${info.chromium}, Node ${info.node}`,
      info.platform,
      '',
      info.license,
      '',
      'No account, no network, no telemetry.',
    ].join('\n'),
    buttons: ['Close'],
    noLink: true,
  });
}
