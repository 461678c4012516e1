// `npm run -s lab -- ...`. `npm ci` has built the command line in `prepare`; where npm is told to run no scripts at all, the
// first call builds it.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const cli = new URL('../out/main/cli.js', import.meta.url);
if (!existsSync(cli)) {
  const { buildCli } = await import('./build.mjs');
  const built = await buildCli();
  if (!built.ok) {
    process.stderr.write(`The command line could not be built:\n${built.output}`);
    process.exit(3);
  }
}
process.argv[1] = fileURLToPath(cli);
await import(cli.href);
