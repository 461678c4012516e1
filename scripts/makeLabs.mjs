// Makes the example labs of fixtures/labs from their documents and the recordings that they replay, through the command line
// that users have. Run it after a change to a document: `npm run -s lab` must be built. `--check` only compares.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';

const root = join(import.meta.dirname, '..');
const labs = join(root, 'fixtures/labs');
const recordings = join(root, 'fixtures/recordings');
const onlyCheck = process.argv.includes('--check');

/** @param {string} id folder and workload, joined by a dot: `7.3-lazy.w64k-rand-qd16-frag` */
function recordingFile(id) {
  const folder = readdirSync(recordings).find((name) => id.startsWith(`${name}.`));
  if (folder === undefined) throw new Error(`no folder of ${recordings} holds the recording ${id}`);
  return join(recordings, folder, `${id.slice(folder.length + 1)}.txt.gz`);
}

for (const name of readdirSync(labs).filter((file) => file.endsWith('.json'))) {
  /** @type {{ workloads: { kind: string, recording?: string }[] }} */
  const lab = JSON.parse(readFileSync(join(labs, name), 'utf8'));
  const folder = mkdtempSync(join(tmpdir(), 'iovalab-'));
  cpSync(join(labs, name), join(folder, 'lab.json'));
  for (const { recording } of lab.workloads) {
    if (recording === undefined) continue;
    const trace = recordingFile(recording);
    const target = join(folder, 'recordings', recording);
    mkdirSync(target, { recursive: true });
    cpSync(trace, join(target, basename(trace)));
    cpSync(join(dirname(trace), 'run.json'), join(target, 'run.json'));
  }
  const target = join(labs, `${basename(name, '.json')}.iovalab`);
  const made = onlyCheck ? join(folder, 'made.iovalab') : target;
  execFileSync(process.execPath, [join(root, 'out/main/cli.js'), 'pack', folder, '-o', made], { stdio: 'inherit' });
  if (onlyCheck && !readFileSync(made).equals(readFileSync(target))) {
    console.error(`${target} is not what its document makes: run scripts/makeLabs.mjs.`);
    process.exitCode = 1;
  }
  rmSync(folder, { recursive: true });
}
