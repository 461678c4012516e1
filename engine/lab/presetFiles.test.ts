/** Every parameter of every preset, also of those of published measurements, which no list of the app names. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

const FOLDER = join(import.meta.dirname, '../../fixtures/presets');

interface Parameter {
  readonly value?: unknown;
  /** By kernel, in place of one value. */
  readonly values?: Readonly<Record<string, unknown>>;
  readonly unit: string;
  readonly range?: readonly number[];
  readonly mark: string;
  readonly source: string;
}

/** Parameters at any depth, each by its path in the file. */
function parametersOf(at: unknown, path: string): [string, Parameter][] {
  if (typeof at !== 'object' || at === null) return [];
  if ('mark' in at) return [[path, at as Parameter]];
  return Object.entries(at).flatMap(([key, below]) => parametersOf(below, path === '' ? key : `${path}.${key}`));
}

const presets = readdirSync(FOLDER, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.json'))
  .map((name) => [name, parametersOf(JSON.parse(readFileSync(join(FOLDER, name), 'utf8')), '')] as const);

describe.each(presets)('%s', (_name, parameters) => {
  test('has parameters, each with a unit, a source and a mark', () => {
    expect(parameters.length).toBeGreaterThan(0);
    for (const [path, { unit, source, mark }] of parameters) {
      expect([unit, source].includes(''), path).toBe(false);
      expect(['measured', 'derived', 'assumed'], path).toContain(mark);
    }
  });

  test('has every value within its own range', () => {
    for (const [path, { value, values = { value }, range }] of parameters) {
      if (range === undefined) continue;
      expect(range, path).toHaveLength(2);
      for (const each of Object.values(values)) {
        expect(each, path).toBeGreaterThanOrEqual(range[0]!);
        expect(each, path).toBeLessThanOrEqual(range[1]!);
      }
    }
  });
});
