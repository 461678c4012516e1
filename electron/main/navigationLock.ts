/*
 * The window shows one page and stays there. Electron's security tutorial, items 12 to 14: no navigation, no new windows,
 * no webview. A link to the outside leaves through openExternalSafely, and only by a click.
 */
import type { WebContents } from 'electron';

/** What is used of a WebContents. */
export type LockableContents = Pick<WebContents, 'setWindowOpenHandler'> & {
  on(event: LockedEvent, listener: (event: { preventDefault(): void }) => void): unknown;
};

const lockedEvents = ['will-navigate', 'will-redirect', 'will-frame-navigate', 'will-attach-webview'] as const;
export type LockedEvent = (typeof lockedEvents)[number];

export function lockNavigation(contents: LockableContents, openExternally: (address: string) => void): void {
  for (const name of lockedEvents) contents.on(name, (event) => event.preventDefault());
  contents.setWindowOpenHandler(({ url }) => {
    openExternally(url);
    return { action: 'deny' };
  });
}
