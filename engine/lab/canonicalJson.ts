/**
 * JSON with one spelling per value: keys in the order of their code units, two spaces, a newline at the end. The same
 * document gives the same bytes wherever it is saved, and two documents differ only where they differ.
 * NaN and infinities, which JSON cannot say, become null; undefined members are left out.
 */
export function canonicalJson(value: unknown): string {
  return `${JSON.stringify(inKeyOrder(value), null, 2)}\n`;
}

/** The same value with the keys of every object in order. */
function inKeyOrder(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inKeyOrder);
  if (value === null || typeof value !== 'object') return value;
  const entries = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([left], [right]) => (left < right ? -1 : 1))
    .map(([key, member]): [string, unknown] => [key, inKeyOrder(member)]);
  return Object.fromEntries(entries);
}
