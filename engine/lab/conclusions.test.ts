/** Conclusions of an experiment against figures, and what is refused of them before anything runs. */
import { describe, expect, test } from 'vitest';
import { checkLab } from './check.ts';
import { holdConclusions } from './conclusions.ts';
import { sampleDocument, sampleLab, sampleResult } from './testing/sampleLab.ts';

const ABOUT = { claim: 'They differ.', metric: 'requests', of: 'sg-strict', relation: 'moreThan', to: 'two-strict' };

function held(conclusion: Record<string, unknown>): { readonly holds: boolean; readonly figures: string } {
  const lab = sampleLab({ experiment: { conclusions: [{ ...ABOUT, ...conclusion }] } });
  const results = [sampleResult('a', 'sg-strict', 500), sampleResult('b', 'two-strict', 400)];
  return holdConclusions(lab, results)[0]!;
}

describe('a conclusion', () => {
  test.each([
    [{}, true],
    [{ relation: 'lessThan' }, false],
    [{ relation: 'atLeast', times: 1.25 }, true],
    [{ relation: 'moreThan', times: 1.25 }, false],
    [{ relation: 'atMost', times: 1.25 }, true],
    [{ relation: 'about' }, false],
    [{ relation: 'about', within: 0.25 }, true],
    [{ relation: 'about', to: 490 }, true],
    [{ relation: 'lessThan', to: 501 }, true],
    [{ metric: 'iotlbLookups', relation: 'about', times: 1.25, within: 0 }, true],
    [{ metric: 'iotlbMisses4K', relation: 'moreThan' }, true],
    [{ metric: 'throughput.nvme7' }, false],
  ])('%o holds: %s', (change, holds) => {
    expect(held(change).holds).toBe(holds);
  });

  test('says both figures with their units, and what the other one is multiplied by', () => {
    expect(held({ times: 1.1 }).figures).toBe('requests of "sg-strict": 500 > 1.1 × 400 of "two-strict"');
    expect(held({ metric: 'mapLatencyP50', to: 3_000_000 }).figures).toMatch(
      /^map latency p50 of "sg-strict": 2\.4.*s > 3.*s$/,
    );
  });

  test('about a run that is not there, or was cut short, does not hold', () => {
    const lab = sampleLab({ experiment: { conclusions: [ABOUT] } });
    const [first, second] = [sampleResult('a', 'sg-strict', 500), sampleResult('b', 'two-strict', 400)];
    expect(holdConclusions(lab, [first])[0]!.holds).toBe(false);
    expect(holdConclusions(lab, [first, { ...second, partial: true }])[0]!.holds).toBe(false);
    expect(holdConclusions(lab, [first, second])[0]!.holds).toBe(true);
  });
});

test.each([
  [{ of: 'nobody' }, 'experiment.conclusions[0].of'],
  [{ to: 'nobody' }, 'experiment.conclusions[0].to'],
  [{ metric: 'mapLatency' }, 'experiment.conclusions[0].metric'],
  [{ relation: 'equals' }, 'experiment.conclusions[0].relation'],
  [{ times: 0 }, 'experiment.conclusions[0].times'],
])('%o is refused at %s', (change, path) => {
  const document = { ...sampleDocument(), experiment: { conclusions: [{ ...ABOUT, ...change }] } };
  expect(checkLab(document, 'sample').problems.map((problem) => problem.path)).toEqual([path]);
});
