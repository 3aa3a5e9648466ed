/** Where the product asks for chance, it gets what follows from the seed: see simulation.test.ts for how. */

let state = 0;

export function seedRandomness(seed: number): void {
  state = seed;
}

/** Mulberry32, by Tommy Ettinger: public domain. */
export function random(): number {
  state = (state + 0x6d2b79f5) | 0;
  let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
}

export const randomBytes = (count: number): Buffer =>
  Buffer.from(Array.from({ length: count }, () => Math.floor(random() * 256)));

export const randomUUID = (): string => randomBytes(16).toString('hex');
