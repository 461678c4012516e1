/*
 * Where the app's own files lie, seen from the built main file (out/main/index.js); the same whether packaged or not.
 */
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..', '..');

export const pageFolder = join(root, 'out', 'renderer');
export const preloadFile = join(root, 'out', 'preload', 'index.cjs');
export const examplesFolder = join(root, 'fixtures', 'labs');
export const fontsFolder = join(root, 'fixtures', 'fonts');
export const iconFile = join(root, 'electron', 'resources', 'icon.png');
export const packageFile = join(root, 'package.json');
export const runWorkerFile = new URL('runWorker.js', import.meta.url);
export const inspectWorkerFile = new URL('inspectWorker.js', import.meta.url);
export const exportWorkerFile = new URL('exportWorker.js', import.meta.url);
