/** The names that take the fewest edits to become `name`; a name that holds it, or is held by it, comes before. */
export function nearest(name: string, names: readonly string[], count = 3): string[] {
  const asked = name.toLowerCase();
  const rank = (candidate: string) =>
    (candidate.includes(asked) || (candidate !== '' && asked.includes(candidate)) ? 0 : 1000) + edits(asked, candidate);
  return [...names].sort((a, b) => rank(a) - rank(b)).slice(0, count);
}

/** Insertions, deletions and replacements that turn a into b (Levenshtein 1966). */
function edits(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}
