// Draws icon.png from icon.svg. Run by hand when the drawing has changed: node scripts/makeIcon.mjs
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Resvg } from '@resvg/resvg-js';

const folder = path.join(import.meta.dirname, '..', 'electron', 'resources');
const svg = readFileSync(path.join(folder, 'icon.svg'), 'utf8');
const image = new Resvg(svg, { fitTo: { mode: 'width', value: 512 } }).render();
writeFileSync(path.join(folder, 'icon.png'), image.asPng());
