import { describe, expect, it } from 'vitest';
import { isTooDeep, MAX_JSON_DEPTH } from '../../services/api/json-depth.ts';

const nested = (depth: number): string => `${'['.repeat(depth)}${']'.repeat(depth)}`;

describe('the depth of JSON', () => {
  it('is bounded, in lists and in objects', () => {
    expect(isTooDeep(JSON.parse(nested(MAX_JSON_DEPTH)))).toBe(false);
    expect(isTooDeep(JSON.parse(nested(MAX_JSON_DEPTH + 1)))).toBe(true);
    expect(isTooDeep(JSON.parse(`{"a": [1, {"b": ${nested(MAX_JSON_DEPTH)}}]}`))).toBe(true);
    for (const flat of [null, 'x', 1, [], {}, [[], {}, 'x']]) expect(isTooDeep(flat)).toBe(false);
  });

  it('is looked at no deeper than that, however deep it is', () => {
    expect(isTooDeep(JSON.parse(nested(100_000)))).toBe(true);
  });
});
