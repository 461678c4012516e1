// How the desktop app is built. Targets are written down because the build tool would otherwise take them from the installed
// Electron, whose newer syntax the oldest supported one (33: Node 20.18, Chromium 130) cannot read.
import { resolve } from 'node:path';
import vue from '@vitejs/plugin-vue';
import { defineConfig } from 'electron-vite';
import { nodeExternals, nodeTarget } from './cli.vite.config.ts';

const root = import.meta.dirname;
const chromiumTarget = 'chrome130';

export default defineConfig({
  main: {
    build: {
      target: nodeTarget,
      outDir: 'out/main',
      // Everything is bundled but what holds native code; see `dependencies` in package.json.
      externalizeDeps: true,
      sourcemap: true,
      rolldownOptions: {
        external: nodeExternals,
        // Worker threads are inputs of their own: main passes their file to `new Worker`, so the engine never has to know a bundler.
        input: {
          index: resolve(root, 'electron/main/index.ts'),
          runWorker: resolve(root, 'electron/workers/runWorker.ts'),
          inspectWorker: resolve(root, 'electron/workers/inspectWorker.ts'),
          exportWorker: resolve(root, 'electron/workers/exportWorker.ts'),
          cli: resolve(root, 'engine/cli/main.ts'),
        },
        output: { format: 'es', entryFileNames: '[name].js', chunkFileNames: 'chunks/[name]-[hash].js' },
      },
    },
  },
  preload: {
    build: {
      target: nodeTarget,
      outDir: 'out/preload',
      // A sandboxed preload can neither be a module nor require one: it is a single CommonJS file with all that it needs.
      externalizeDeps: false,
      rolldownOptions: {
        input: { index: resolve(root, 'electron/preload/index.ts') },
        output: { format: 'cjs', entryFileNames: '[name].cjs' },
      },
    },
  },
  renderer: {
    root: resolve(root, 'renderer'),
    plugins: [vue()],
    build: {
      target: chromiumTarget,
      outDir: resolve(root, 'out/renderer'),
      // Nothing is inlined: the content security policy forbids data: workers and fonts, and elkjs stays a file of its own
      // because of its licence (see NOTICE).
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      rolldownOptions: { input: { index: resolve(root, 'renderer/index.html') } },
    },
  },
});
