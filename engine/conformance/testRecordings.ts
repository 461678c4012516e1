/**
 * For tests: the recordings of real kernels that come with the project, and traces made up by a test.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { traceText } from '../lab/recordingFiles.ts';
import { runJson } from '../lab/testTrace.ts';
import type { RecordingFiles } from '../workloads/recordedRequest.ts';

const FIXTURES = fileURLToPath(new URL('../../fixtures/recordings/', import.meta.url));
export const LAZY = runJson({ commandLine: 'intel_iommu=on iommu.strict=0' });

export function fixture(folder: string, name: string): RecordingFiles {
  const files: RecordingFiles = {
    name: `${folder}/${name}`,
    trace: readFileSync(`${FIXTURES}${folder}/${name}.txt.gz`),
    runJson: readFileSync(`${FIXTURES}${folder}/run.json`, 'utf8'),
  };
  const deviceLog = `${FIXTURES}${folder}/device.log.gz`;
  return existsSync(deviceLog) ? { ...files, deviceLog: readFileSync(deviceLog) } : files;
}

export function fixtureNames(): string[] {
  return readdirSync(FIXTURES, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.txt.gz'))
    .map((path) => path.replaceAll('\\', '/').replace('.txt.gz', ''))
    .sort();
}

/** The text of a fixture without its header, which would notice a line that is missing. */
export function linesOf(folder: string, name: string): string[] {
  const { trace } = fixture(folder, name);
  return traceText(name, trace)
    .split('\n')
    .filter((line) => !line.startsWith('#'));
}

/** A recording that a test made up. */
export function files(text: string, run = runJson()): RecordingFiles {
  return { name: 'test', trace: Buffer.from(text), runJson: run };
}
