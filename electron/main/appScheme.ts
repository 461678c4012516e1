/*
 * lab://app/, the only place a page is loaded from. Electron's security tutorial, item 18 (no file: protocol), and item 7
 * (a content security policy, sent as a header so that no markup can weaken it).
 *
 * A request is looked up in the list of files that the build made, and nothing is ever joined to a path: what is not on
 * the list does not exist. Leaves out ranges and conditional requests, which no page of ours makes.
 */
import { readdir, readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';

export const appOrigin = 'lab://app';

/** Electron's privileges for the scheme; registered before the app is ready. */
export const appSchemePrivileges = {
  scheme: 'lab',
  privileges: { standard: true, secure: true, supportFetchAPI: true },
} as const;

/** Style attributes are let through for chart tooltips and the topology's positions; style elements and scripts inline are not. */
export const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "style-src-attr 'unsafe-inline'",
  "img-src 'self' data: blob:",
  "font-src 'self'",
  "connect-src 'self'",
  "worker-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-src 'none'",
  "object-src 'none'",
].join('; ');

const contentTypes: ReadonlyMap<string, string> = new Map([
  ['.html', 'text/html; charset=utf-8'],
  ['.js', 'text/javascript; charset=utf-8'],
  ['.mjs', 'text/javascript; charset=utf-8'],
  ['.css', 'text/css; charset=utf-8'],
  ['.json', 'application/json; charset=utf-8'],
  ['.map', 'application/json; charset=utf-8'],
  ['.svg', 'image/svg+xml'],
  ['.png', 'image/png'],
  ['.ico', 'image/x-icon'],
  ['.woff2', 'font/woff2'],
  ['.wasm', 'application/wasm'],
  ['.txt', 'text/plain; charset=utf-8'],
]);

/** Names that a bundler makes: nothing that a URL would write in two ways. */
const plainName = /^[A-Za-z0-9._-]+$/;

/** URL path -> file, for every file of the built page that we can name the type of. Source maps only for developers. */
export async function listPageFiles(
  folder: string,
  options: { readonly sourceMaps: boolean },
): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>();
  async function add(directory: string, prefix: string): Promise<void> {
    for (const entry of await readdir(directory, { withFileTypes: true })) {
      if (!plainName.test(entry.name)) continue;
      const path = join(directory, entry.name);
      if (entry.isDirectory()) {
        await add(path, `${prefix}${entry.name}/`);
      } else if (entry.isFile()) {
        const extension = extname(entry.name);
        if (!contentTypes.has(extension) || (extension === '.map' && !options.sourceMaps)) continue;
        files.set(`${prefix}${entry.name}`, path);
      }
    }
  }
  await add(folder, '/');
  const index = files.get('/index.html');
  if (index !== undefined) files.set('/', index);
  return files;
}

function answer(status: number, body: Uint8Array<ArrayBuffer> | null, type = 'text/plain; charset=utf-8'): Response {
  return new Response(body, {
    status,
    headers: {
      'Content-Type': type,
      'Content-Security-Policy': contentSecurityPolicy,
      'X-Content-Type-Options': 'nosniff',
      'Cache-Control': 'no-cache',
    },
  });
}

/** The part of a Request that counts; electron's and node's differ in the rest. */
export interface PageRequest {
  readonly method: string;
  readonly url: string;
}

export function createPageHandler(files: ReadonlyMap<string, string>): (request: PageRequest) => Promise<Response> {
  return async (request) => {
    if (request.method !== 'GET') return answer(405, null);
    const path = pathOf(request.url);
    const file = path === null ? undefined : files.get(path);
    if (file === undefined) return answer(404, null);
    const bytes = await readFile(file);
    return answer(200, Uint8Array.from(bytes), contentTypes.get(extname(file)));
  };
}

function pathOf(address: string): string | null {
  // Read from the text itself: a URL parser would tidy away the `..` and backslashes that we mean to refuse.
  const rest = address.startsWith(`${appOrigin}/`) ? address.slice(appOrigin.length) : null;
  if (rest === null) return null;
  const end = rest.search(/[?#]/);
  return end === -1 ? rest : rest.slice(0, end);
}
