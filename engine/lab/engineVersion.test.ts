/** The version stands in two places: package.json, and the engine, whose results carry it and which cannot read files. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ENGINE_VERSION } from './engineVersion.ts';

it('the version of the engine is the version of the package', () => {
  const text = readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8');
  expect(JSON.parse(text)).toMatchObject({ version: ENGINE_VERSION });
});
