import { describe, expect, it } from 'vitest';
import { sampleLab } from '../testing/sampleLab.ts';
import { costName, costsOfPart, costText, labCosts } from './costGroups.ts';

describe('the costs beside a part', () => {
  const costs = labCosts(sampleLab);

  it('are those of the hardware it is', () => {
    const names = costsOfPart(costs, 'iommu').map(({ name }) => name);
    expect(names).toContain('tableRead');
    expect(names).not.toContain('mapSgCall');
  });

  it('each say where they come from', () => {
    for (const cost of costs) {
      expect(cost.source, cost.name).not.toBe('');
      expect(['measured', 'derived', 'assumed']).toContain(cost.mark);
    }
  });

  it('carry their unit', () => {
    const read = costs.find(({ name }) => name === 'tableRead')!;
    expect(costText(read).replace('\u202f', ' ')).toBe('75 ns');
    expect(costName('pageTableMapCall')).toBe('Page table map call');
  });

  it('show a value that the lab changes as changed', () => {
    const changed = labCosts({ ...sampleLab, costs: { preset: 'default', overrides: { tableRead: 130 } } });
    expect(changed.find(({ name }) => name === 'tableRead')).toMatchObject({ value: 130, overridden: true });
  });
});
