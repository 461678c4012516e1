// The recordings of real kernels that come with the project.
import { readdirSync } from 'node:fs';
import { root } from './process.mjs';

/** @returns {string[]} relative to the root, in a stable order */
export const recordings = () =>
  readdirSync(`${root}/fixtures/recordings`, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.txt.gz'))
    .map((name) => `fixtures/recordings/${name}`)
    .sort();
