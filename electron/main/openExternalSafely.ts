/*
 * The only way out of the app to the user's browser. Electron's security tutorial, item 15. A URL handed to the system can
 * start any program that registered a scheme, so only https, and only hosts that our own texts point to.
 */
import { shell } from 'electron';

const allowedHosts: ReadonlySet<string> = new Set([
  'docs.kernel.org',
  'git.kernel.org',
  'lore.kernel.org',
  'lwn.net',
  'www.kernel.org',
  'nvmexpress.org',
  'pcisig.com',
  'www.intel.com',
]);

export function isAllowedAddress(address: string): boolean {
  if (!URL.canParse(address)) return false;
  const url = new URL(address);
  return (
    url.protocol === 'https:' &&
    allowedHosts.has(url.hostname) &&
    url.port === '' &&
    url.username === '' &&
    url.password === ''
  );
}

export function openExternalSafely(address: string): void {
  if (isAllowedAddress(address)) void shell.openExternal(address);
}
