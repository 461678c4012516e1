import { describe, expect, it } from 'vitest';
import { filterEntries, paletteEntries } from './paletteEntries.ts';

const entries = paletteEntries(
  [{ id: 'first-run', title: 'First run', question: '' }],
  [{ id: 'r1', name: 'mine.iovalab', folder: '~' }],
  false,
);
const titles = (query: string): string[] => filterEntries(entries, query).map(({ title }) => title);

describe('the palette', () => {
  it('lists every command that is not hidden, and the labs that can be opened', () => {
    expect(titles('')).toContain('Run All');
    expect(titles('')).toContain('Open Example: First run');
    expect(titles('')).toContain('Open Recent: mine.iovalab');
    expect(titles('')).not.toContain('Command Palette…');
  });

  it('puts beginnings before words before letters', () => {
    expect(titles('run')[0]).toBe('Run All');
    expect(titles('thd')[0]).toBe('Theme: Dark');
  });

  it('finds nothing for letters that do not occur', () => {
    expect(titles('zzqx')).toEqual([]);
  });
});
