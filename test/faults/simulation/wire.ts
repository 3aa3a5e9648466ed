/**
 * The order of things: everything that passes between two processes waits here for its turn, which fast-check's scheduler
 * gives it. One seed is one order, down to each message.
 */
import type { Scheduler } from 'fast-check';

export class Wire {
  readonly #scheduler: Scheduler;
  /** What came about, in order: the same for the same seed. */
  readonly trace: string[] = [];

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  /** Resolves when it is its turn. */
  turn(label: string): Promise<void> {
    return this.#scheduler.schedule(Promise.resolve(), label).then(() => {
      this.trace.push(label);
    });
  }
}

/** A process that can die: what it has sent may arrive or not, and nothing reaches it any more. */
export class Mortal {
  readonly name: string;
  isDead = false;
  /** Of what it had sent when it died, so many commands still arrive on each connection. */
  arriveAfterDeath = 0;
  /** Nothing passes between it and Redis before. */
  cutUntilMs = 0;
  readonly #onDeath: (() => void)[] = [];

  constructor(name: string) {
    this.name = name;
  }

  onDeath(act: () => void): void {
    this.#onDeath.push(act);
  }

  die(arrive: number): void {
    if (this.isDead) return;
    this.isDead = true;
    this.arriveAfterDeath = arrive;
    for (const act of this.#onDeath) act();
  }
}
