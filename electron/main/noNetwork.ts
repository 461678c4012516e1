/*
 * The app opens no sockets: every request of the session that is not for our own scheme, the developer tools or data that
 * the page already has is cancelled before it leaves, whatever asked for it.
 */

/** What is used of electron's Session. */
export interface NetworkSession {
  readonly webRequest: {
    onBeforeRequest(
      listener: (details: { readonly url: string }, callback: (response: { cancel: boolean }) => void) => void,
    ): void;
  };
}

const localSchemes: ReadonlySet<string> = new Set(['lab:', 'devtools:', 'data:', 'blob:']);

function isLocalAddress(address: string, developmentOrigin: string | null): boolean {
  if (!URL.canParse(address)) return false;
  const url = new URL(address);
  if (localSchemes.has(url.protocol)) return true;
  return developmentOrigin !== null && url.host === new URL(developmentOrigin).host;
}

export function cancelNetwork(
  session: NetworkSession,
  developmentOrigin: string | null,
  refused: (address: string) => void,
): void {
  session.webRequest.onBeforeRequest((details, callback) => {
    const cancel = !isLocalAddress(details.url, developmentOrigin);
    if (cancel) refused(details.url);
    callback({ cancel });
  });
}
