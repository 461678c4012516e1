/** The theme of the charts as the window shows them: the engine's, on the window's ground and in the window's type. */
import { DARK_THEME, LIGHT_THEME, type ChartTheme } from '../../engine/lab/chartOptions.ts';

const fontFamily = "system-ui, -apple-system, 'Segoe UI', Cantarell, 'Noto Sans', 'DejaVu Sans', sans-serif";

/** The grounds are --surface-panel of styles/tokens.css: a canvas cannot read a token that depends on the theme. */
const LIGHT: ChartTheme = { ...LIGHT_THEME, fontFamily, background: '#ffffff', grid: '#e7ebf0', mutedText: '#505a68' };
const DARK: ChartTheme = { ...DARK_THEME, fontFamily, background: '#1f2329', grid: '#2e343d', mutedText: '#a9b2bf' };

export function windowTheme(dark: boolean): ChartTheme {
  return dark ? DARK : LIGHT;
}
