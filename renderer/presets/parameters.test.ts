import { describe, expect, it } from 'vitest';
import { sampleLab } from '../testing/sampleLab.ts';
import { costRows, isOutsideRange, matching, parseValue, type ParameterRow } from './parameters.ts';

const rows = costRows(sampleLab);
const row = (name: string): ParameterRow => {
  const found = rows.find((one) => one.name === name);
  if (found === undefined) throw new Error(`no parameter ${name}`);
  return found;
};

describe('the rows of a cost preset', () => {
  it('each have a unit, a source and a mark, and the value of the preset beside that of the lab', () => {
    for (const { unit, source, mark, help, changed, value, own } of rows) {
      for (const text of [unit, source, mark, help]) expect(text).not.toBe('');
      expect(changed).toBe(false);
      expect(value).toBe(own);
    }
    const changed = costRows({ ...sampleLab, costs: { preset: 'default', overrides: { tableRead: 130 } } });
    expect(changed.find(({ name }) => name === 'tableRead')).toMatchObject({ value: 130, own: 75, changed: true });
  });

  it('are found by words of their name, help or source, and by being changed', () => {
    expect(matching(rows, 'table READ', false).map(({ name }) => name)).toContain('tableRead');
    expect(matching(rows, 'tableRead nonsense', false)).toEqual([]);
    expect(matching(rows, '', true)).toEqual([]);
    expect(matching(rows, '', false)).toHaveLength(rows.length);
  });
});

describe('what is written into a field', () => {
  const bounded = { ...row('tableRead'), bounded: true, range: [1, 64] as const };

  it.each([
    ['75', 75],
    [' 0.14 ', 0.14],
    ['0,14', 0.14],
    ['1 200', 1200],
    ['1e3', 1000],
    ['0', 0],
  ])('%j is a value', (written, value) => {
    expect(parseValue(row('tableRead'), written)).toEqual({ value });
  });

  it.each(['', '-1', 'seventy', '0x10', '1e13', 'NaN', 'Infinity', '1.2.3', '__proto__'])(
    '%j is refused',
    (written) => {
      expect(parseValue(row('tableRead'), written)).toHaveProperty('complaint');
    },
  );

  it('must be whole and within bounds where the document says so', () => {
    expect(parseValue(bounded, '64')).toEqual({ value: 64 });
    for (const written of ['0', '65', '1.5']) {
      expect(parseValue(bounded, written)).toEqual({ complaint: 'Write a whole number from 1 to 64.' });
    }
  });

  it('may lie outside what was published, and is said to', () => {
    expect(isOutsideRange({ ...row('tableRead'), value: 250 })).toBe(true);
    expect(isOutsideRange(row('tableRead'))).toBe(false);
  });
});
