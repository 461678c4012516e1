/*
 * The window of the lab: one page from our own scheme, sandboxed and isolated, locked to that page.
 */
import { BrowserWindow, nativeTheme, screen } from 'electron';
import { lockNavigation } from './navigationLock.ts';
import { openExternalSafely } from './openExternalSafely.ts';
import { iconFile, preloadFile } from './paths.ts';
import type { WindowBounds } from './settings.ts';
import { smallestWindow, visibleBounds } from './windowBounds.ts';

/** What the page paints first, so that a dark window does not flash white. */
const background = { dark: '#14171c', light: '#f6f7f9' } as const;

export function createWindow(bounds: WindowBounds, developerTools: boolean): BrowserWindow {
  const window = new BrowserWindow({
    ...visibleBounds(
      bounds,
      screen.getAllDisplays().map(({ workArea }) => workArea),
    ),
    minWidth: smallestWindow.width,
    minHeight: smallestWindow.height,
    show: false,
    title: 'IOVA Lab',
    icon: iconFile,
    backgroundColor: nativeTheme.shouldUseDarkColors ? background.dark : background.light,
    webPreferences: {
      preload: preloadFile,
      sandbox: true,
      contextIsolation: true,
      nodeIntegration: false,
      webviewTag: false,
      navigateOnDragDrop: false,
      spellcheck: false,
      devTools: developerTools,
    },
  });
  if (bounds.maximized) window.maximize();
  window.once('ready-to-show', () => window.show());
  // The title is the document's, not the page's.
  window.on('page-title-updated', (event) => event.preventDefault());
  lockNavigation(window.webContents, openExternalSafely);
  return window;
}

export function boundsOf(window: BrowserWindow): WindowBounds {
  return { ...window.getNormalBounds(), maximized: window.isMaximized() };
}
