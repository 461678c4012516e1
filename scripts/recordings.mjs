// The recordings of real kernels that come with the project: traces of NVMe workloads, and single calls of the DMA API.
import { readdirSync } from 'node:fs';
import { root } from './process.mjs';

/** @param {string} ending @returns {string[]} relative to the root, in a stable order */
const filesEndingIn = (ending) =>
  readdirSync(`${root}/fixtures/recordings`, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .map((name) => `fixtures/recordings/${name}`)
    .sort();

export const recordings = () => filesEndingIn('.txt.gz');
export const callRecordings = () => filesEndingIn('.jsonl.gz');
