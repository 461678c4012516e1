/*
 * What the page may ask Chromium for: to put a chart on the clipboard, and nothing else. Electron's security tutorial,
 * item 5. Asking and checking are two paths in Chromium, so both are answered.
 */

/** What is used of electron's Session. */
export interface PermissionSession {
  setPermissionRequestHandler(
    handler: (
      contents: unknown,
      permission: string,
      callback: (granted: boolean) => void,
      details: { readonly requestingUrl: string; readonly isMainFrame: boolean },
    ) => void,
  ): void;
  setPermissionCheckHandler(
    handler: (contents: unknown, permission: string, requestingOrigin: string) => boolean,
  ): void;
  setDevicePermissionHandler(handler: () => boolean): void;
}

const allowed: ReadonlySet<string> = new Set(['clipboard-sanitized-write']);

export function restrictPermissions(session: PermissionSession, origin: string): void {
  session.setPermissionRequestHandler((_contents, permission, callback, details) => {
    callback(allowed.has(permission) && details.isMainFrame && details.requestingUrl.startsWith(`${origin}/`));
  });
  session.setPermissionCheckHandler(
    (_contents, permission, requestingOrigin) =>
      // Chromium writes an origin as a URL here, with a slash at its end.
      allowed.has(permission) && requestingOrigin.replace(/\/$/, '') === origin,
  );
  session.setDevicePermissionHandler(() => false);
}
