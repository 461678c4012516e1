// The recordings that come with the project: of real kernels, traces of NVMe workloads and single calls of the DMA API; and page walks
// of a reference model.
import { readdirSync } from 'node:fs';
import { root } from './process.mjs';

const WALKS = 'riscv-sv/';

/** @param {string} ending @returns {string[]} relative to the root, in a stable order */
const filesEndingIn = (ending) =>
  readdirSync(`${root}/fixtures/recordings`, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .map((name) => `fixtures/recordings/${name}`)
    .sort();

export const recordings = () => filesEndingIn('.txt.gz');
export const walkRecordings = () => filesEndingIn('.jsonl.gz').filter((name) => name.includes(WALKS));
export const callRecordings = () => filesEndingIn('.jsonl.gz').filter((name) => !name.includes(WALKS));
