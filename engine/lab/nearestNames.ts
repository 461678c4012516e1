/**
 * The names that someone may have meant: smallest edit distance first (Levenshtein 1965), and only near ones.
 */
function nearestNames(wanted: string, names: readonly string[], most = 3): string[] {
  const bound = Math.max(2, Math.floor(wanted.length / 3));
  return names
    .map((name) => ({ name, distance: nearness(wanted.toLowerCase(), name.toLowerCase()) }))
    .filter(({ distance }) => distance <= bound)
    .sort((left, right) => left.distance - right.distance || (left.name < right.name ? -1 : 1))
    .slice(0, most)
    .map(({ name }) => name);
}

/** "Did you mean a, b or c?", or where nothing is near, all names if they are few. */
export function suggestNames(wanted: string, names: readonly string[]): string {
  const near = nearestNames(wanted, names);
  if (near.length > 0) return `Did you mean ${listNames(near)}?`;
  return names.length > 0 && names.length <= 12
    ? `There ${names.length === 1 ? 'is' : 'are'} ${names.join(', ')}.`
    : '';
}

function listNames(names: readonly string[]): string {
  return names.length < 2 ? (names[0] ?? '') : `${names.slice(0, -1).join(', ')} or ${names.at(-1) ?? ''}`;
}

/** Part of a name counts as near: whoever types `iotlb` means `iotlbHit`. */
function nearness(wanted: string, name: string): number {
  return wanted.length >= 3 && name.includes(wanted) ? 1 : editDistance(wanted, name);
}

function editDistance(left: string, right: string): number {
  let previous = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let row = 1; row <= left.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= right.length; column += 1) {
      const replace = (previous[column - 1] ?? 0) + (left[row - 1] === right[column - 1] ? 0 : 1);
      current.push(Math.min(replace, (previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[right.length] ?? 0;
}
