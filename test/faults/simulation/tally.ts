/** What all seeds together came to: a simulation in which nothing happens keeps every promise. */
import { resultOf } from './promises.ts';
import type { World } from './world.ts';

export class Tally {
  seeds = 0;
  steps = 0;
  readonly counts = new Map<string, number>();

  add(world: World, faults: readonly { readonly kind: string }[]): void {
    this.seeds++;
    this.steps += world.steps;
    for (const { kind } of faults) this.#count(`fault: ${kind}`);
    for (const id of world.jobs()) {
      const { outcome, attempt } = resultOf(world, id);
      this.#count(`outcome: ${outcome?.kind}`);
      if (attempt > 1) this.#count('started again');
      if (world.witness.of(id).length > 1) this.#count('ran again');
    }
    for (const as of world.records.refused) this.#count(`refused: ${as}`);
  }

  toString(): string {
    const lines = [...this.counts].toSorted().map(([what, count]) => `  ${what}: ${count}`);
    return [`${this.seeds} seeds, ${this.steps} steps`, ...lines].join('\n');
  }

  #count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }
}
