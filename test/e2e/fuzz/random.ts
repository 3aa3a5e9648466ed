/** Chance that can be repeated: the same seed and number give the same draws. */

export interface Random {
  /** A whole number from 0 and below `end`. */
  below(end: number): number;
  /** True in this part of all draws. */
  chance(part: number): boolean;
  pick<Item>(items: readonly Item[]): Item;
}

/** Mulberry32, started apart for each number, so that one draw can be repeated without those before it. */
export function randomOf(seed: number, number: number): Random {
  let state = (Math.imul(seed, 0x9e3779b1) ^ Math.imul(number + 1, 0x85ebca6b)) >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (end: number): number => Math.floor(next() * end);
  return {
    below,
    chance: (part) => next() < part,
    pick: (items) => {
      if (items.length === 0) throw new Error('expected items to pick from, came none');
      return items[below(items.length)] as (typeof items)[number];
    },
  };
}
