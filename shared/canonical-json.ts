/** JSON with one spelling for each value, so that a digest of it says whether two values are the same. */

/** Keys in the order of their UTF-16 units, no spaces, nothing undefined: RFC 8785 for what JSON.parse can answer. */
export const canonicalJson = (value: unknown): string => JSON.stringify(sorted(value)) ?? 'null';

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  // From entries: a key `__proto__` stays a key. A key of digits alone comes first, as it does whoever sorts.
  return Object.fromEntries(entries.map(([key, one]) => [key, sorted(one)]));
}
