/** What TypeScript cannot see for itself in this room. */

/** elkjs ships this file without types; only its URL is used. */
declare module 'elkjs/lib/elk-worker.min.js?url' {
  const url: string;
  export default url;
}
