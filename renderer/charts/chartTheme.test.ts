import { describe, expect, it } from 'vitest';
import tokens from '../styles/tokens.css?raw';
import { windowTheme } from './chartTheme.ts';

/** WCAG 2.2, relative luminance and contrast ratio. */
function luminance(hex: string): number {
  const channels = [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16) / 255);
  const [red = 0, green = 0, blue = 0] = channels.map((value) =>
    value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4,
  );
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one: string, other: string): number {
  const [dark = 0, light = 0] = [luminance(one), luminance(other)].sort((left, right) => left - right);
  return (light + 0.05) / (dark + 0.05);
}

describe.each([
  ['light', false],
  ['dark', true],
] as const)('the colours of charts, %s', (name, dark) => {
  const theme = windowTheme(dark);

  it('stand out from the ground by 3:1 (WCAG 2.2, 1.4.11), for every run', () => {
    for (const color of theme.palette) expect(contrast(color, theme.background), color).toBeGreaterThanOrEqual(3);
  });

  it('write text with 4.5:1 (WCAG 2.2, 1.4.3)', () => {
    expect(contrast(theme.text, theme.background)).toBeGreaterThanOrEqual(4.5);
    expect(contrast(theme.mutedText, theme.background)).toBeGreaterThanOrEqual(4.5);
  });

  it('lie on the ground of the panel they stand in', () => {
    const [, light, darkGround] = /--surface-panel: light-dark\((#\w+), (#\w+)\)/.exec(tokens) ?? [];
    expect(theme.background, name).toBe(dark ? darkGround : light);
  });
});
