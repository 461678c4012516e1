/*
 * How large a request from the page is, counted before anything else looks at it, and counted no further than the limit:
 * a hostile page may send a gigabyte, or an object that contains itself.
 */

/** Bytes of a value as a rough upper figure; stops as soon as `limit` is passed. */
export function payloadBytes(value: unknown, limit: number): number {
  let bytes = 0;
  const waiting: unknown[] = [value];
  while (waiting.length > 0 && bytes <= limit) {
    const next = waiting.pop();
    bytes += 8;
    if (typeof next === 'string') bytes += 2 * next.length;
    else if (typeof next === 'bigint') bytes += limit;
    else if (ArrayBuffer.isView(next) || next instanceof ArrayBuffer) bytes += next.byteLength;
    else if (next instanceof Map || next instanceof Set || next instanceof Blob) bytes += limit;
    else if (Array.isArray(next)) {
      // A sparse array is counted by its length: walking its holes is the attack.
      bytes += 8 * next.length;
      if (bytes <= limit) for (const item of next as unknown[]) waiting.push(item);
    } else if (typeof next === 'object' && next !== null) {
      for (const [key, item] of Object.entries(next)) {
        bytes += 2 * key.length;
        waiting.push(item);
        if (bytes > limit) break;
      }
    }
  }
  return bytes;
}
