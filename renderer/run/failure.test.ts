import { describe, expect, it } from 'vitest';
import type { Column } from '../stores/lab.ts';
import { failureWords } from './failure.ts';

function column(id: string, error: string | null): Column {
  const run = { comparisonId: id, status: error === null ? 'done' : 'failed', error } as Column['run'];
  return { comparison: { id, scheme: 'map_sg', domain: 'strict' }, label: id, slot: 0, run, frame: null };
}

describe('where nothing is to be seen', () => {
  it('the reason of the chosen run is given, if it has failed', () => {
    const columns = [column('a', 'no memory'), column('b', 'no drive'), column('c', null)];
    expect(failureWords(columns, 'b')).toEqual({ title: 'b has failed', text: 'no drive' });
    expect(failureWords(columns, 'c')?.title).toBe('2 runs have failed');
    expect(failureWords(columns.slice(2), 'c')).toBeNull();
  });

  it('a reason that all have in common is given once, and several are looked for among the events', () => {
    expect(failureWords([column('a', 'no memory'), column('b', 'no memory')], null)?.text).toBe('no memory');
    expect(failureWords([column('a', 'no memory'), column('b', 'no drive')], null)?.text).toContain('Events');
  });
});
