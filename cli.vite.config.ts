// The command line built alone: quick enough for `prepare`, and without Electron. The desktop build makes the same file again.
import { builtinModules } from 'node:module';
import { resolve } from 'node:path';
import { defineConfig } from 'vite';

/** The Node of the oldest Electron that is supported. */
export const nodeTarget = 'node20.18';

/** What stays outside the bundles: Node itself, Electron, and the one dependency with native code. */
export const nodeExternals = [
  'electron',
  ...builtinModules,
  ...builtinModules.map((name) => `node:${name}`),
  '@resvg/resvg-js',
];

export default defineConfig({
  // Without this Vite resolves packages as for a page.
  ssr: { noExternal: true, external: ['@resvg/resvg-js'] },
  build: {
    ssr: true,
    target: nodeTarget,
    outDir: 'out/main',
    emptyOutDir: false,
    sourcemap: true,
    minify: false,
    rolldownOptions: {
      external: nodeExternals,
      input: { cli: resolve(import.meta.dirname, 'engine/cli/main.ts') },
      output: { format: 'es', entryFileNames: '[name].js', chunkFileNames: 'chunks/[name]-[hash].js' },
    },
  },
});
