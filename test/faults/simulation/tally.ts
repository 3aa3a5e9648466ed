/** What all seeds together came to: a simulation in which nothing happens keeps every promise. */
import { resultOf } from './promises.ts';
import type { World } from './world.ts';

/** Rare or not, in two thousand seeds each of these comes about. */
const EXPECTED = [
  ...['exited', 'timed_out', 'cancelled', 'expired', 'lost'].map((kind) => `outcome: ${kind}`),
  // Late results, late begins, and jobs that have had all their starts.
  ...['fenced', 'already_done', 'not_wanted', 'exhausted'].map((as) => `refused: ${as}`),
  'ran again',
];

export class Tally {
  #seeds = 0;
  #steps = 0;
  readonly #counts = new Map<string, number>();

  add(world: World, faults: readonly { readonly kind: string }[]): void {
    this.#seeds++;
    this.#steps += world.steps;
    for (const { kind } of faults) this.#count(`fault: ${kind}`);
    for (const as of world.records.refused) this.#count(`refused: ${as}`);
    for (const id of world.jobs()) {
      this.#count(`outcome: ${resultOf(world, id).outcome?.kind}`);
      if (world.witness.of(id).length > 1) this.#count('ran again');
    }
  }

  /** What should have come about and did not. */
  unseen(): string[] {
    return EXPECTED.filter((what) => !this.#counts.has(what));
  }

  toString(): string {
    const lines = [...this.#counts].toSorted().map(([what, count]) => `  ${what}: ${count}`);
    return [`simulation: ${this.#seeds} seeds, ${this.#steps} steps`, ...lines].join('\n');
  }

  #count(what: string): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1);
  }
}
