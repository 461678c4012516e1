/*
 * Where the window was last time, if that place still exists: a screen may be gone, and a window that opens out of sight
 * looks like an app that does not start.
 */
import type { WindowBounds } from './settings.ts';

export interface ScreenArea {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export const smallestWindow = { width: 960, height: 600 } as const;

/** So much of the title bar must be on a screen to be caught with a mouse. */
const grip = 80;

export function visibleBounds(
  wanted: WindowBounds,
  screens: readonly ScreenArea[],
): { width: number; height: number; x?: number; y?: number } {
  const { x, y } = wanted;
  const screen =
    x === null || y === null
      ? undefined
      : screens.find(
          (area) =>
            x + wanted.width >= area.x + grip &&
            x <= area.x + area.width - grip &&
            y >= area.y &&
            y <= area.y + area.height - grip,
        );
  const room = screen ?? screens[0];
  const width = Math.max(smallestWindow.width, Math.min(wanted.width, room?.width ?? wanted.width));
  const height = Math.max(smallestWindow.height, Math.min(wanted.height, room?.height ?? wanted.height));
  return screen === undefined || x === null || y === null ? { width, height } : { width, height, x, y };
}
