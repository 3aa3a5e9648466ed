/** Numbers that follow from a seed (mulberry32): the same seed makes the same choices, in the same order. */

export interface Random {
  /** At least `least`, less than `most`. */
  between(least: number, most: number): number;
  whole(least: number, most: number): number;
  chance(part: number): boolean;
  pick<T>(from: readonly T[]): T;
  /** Another that follows from this one: choices of one user do not depend on how often another chooses. */
  branch(): Random;
}

export function randomOf(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const random: Random = {
    between: (least, most) => least + next() * (most - least),
    whole: (least, most) => Math.floor(random.between(least, most + 1)),
    chance: (part) => next() < part,
    pick: (from) => from[random.whole(0, from.length - 1)] as (typeof from)[number],
    branch: () => randomOf(Math.floor(next() * 2 ** 32)),
  };
  return random;
}
