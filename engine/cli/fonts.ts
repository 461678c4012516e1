/** Where the fonts of fixtures/fonts lie, seen from the command's own file (source and bundle lie equally deep). */
import { fileURLToPath } from 'node:url';

const FONTS = ['Inter-Regular.ttf', 'Inter-SemiBold.ttf'] as const;

export function fontFilesBeside(entryUrl: string): string[] {
  return FONTS.map((name) => fileURLToPath(new URL(`../../fixtures/fonts/${name}`, entryUrl)));
}
