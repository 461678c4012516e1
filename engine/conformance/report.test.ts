import { describe, expect, it } from 'vitest';
import { suiteLines, suiteResult } from './report.ts';

describe('the lines of a suite', () => {
  it('name each file, the first difference with both sides, what was skipped, and the sum', () => {
    const result = suiteResult('linux-trace', [
      { name: 'a.txt.gz', agree: 3, total: 3, firstDifference: null, skipped: [{ reason: 'cut off', count: 1 }] },
      {
        name: 'b.txt.gz',
        agree: 1,
        total: 2,
        firstDifference: { line: 7, unit: 'request 1', recorded: 'map', emulated: null },
        skipped: [{ reason: 'cut off', count: 2 }],
      },
    ]);
    expect(suiteLines(result)).toEqual([
      'a.txt.gz: agree 3/3',
      'b.txt.gz: agree 1/2',
      '  line 7, request 1:',
      '    recorded: map',
      '    emulated: (nothing more)',
      'skipped: 3 (cut off)',
      'linux-trace: agree 4/5',
    ]);
  });
});
