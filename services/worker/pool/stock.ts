/** The ready sandboxes of one shape, the jobs that wait for one, how many are being made, and what was asked of it. */

import { steadyNowMs } from '../../../shared/steady-clock.ts';
import type { Sandbox, Shape } from '../sandbox/sandbox.ts';
import { createBackoff } from './backoff.ts';
import type { Demand } from './target.ts';

interface Waiter {
  readonly resolve: (sandbox: Sandbox) => void;
  readonly reject: (error: Error) => void;
}

/** The newest creation counts for so much of the average. */
const NEWEST_PART = 0.2;

export class Stock {
  readonly shape: Shape;
  readonly #maxAgeMs: number;
  readonly #discard: (sandbox: Sandbox) => void;
  readonly #waiters: Waiter[] = [];
  #ready: Sandbox[] = [];
  /** After failed creations. */
  readonly backoff = createBackoff();
  /** After changes of limits that failed. */
  readonly changes = createBackoff();
  /** How many demand wants ready (target.ts); what bounds there are is for stocks.ts to know. */
  target = 0;
  creating = 0;
  /** Of these, how many go before the others, since a job waits. */
  creatingFirst = 0;
  usedAtMs = steadyNowMs();
  #leases = 0;
  #misses = 0;
  #leastReady = 0;
  #creationMs = 0;

  constructor(shape: Shape, maxAgeMs: number, discard: (sandbox: Sandbox) => void) {
    this.shape = shape;
    this.#maxAgeMs = maxAgeMs;
    this.#discard = discard;
  }

  get ready(): number {
    return this.#ready.length;
  }

  get waiting(): number {
    return this.#waiters.length;
  }

  get oldestAtMs(): number {
    return this.#ready.reduce((oldest, one) => Math.min(oldest, one.createdAtMs), Infinity);
  }

  /** How many more must be made for so many to be ready when all that wait are served. */
  missing(target: number): number {
    return target + this.#waiters.length - this.#ready.length - this.creating;
  }

  /** A ready sandbox that lives and is not too old. */
  take(): Sandbox | undefined {
    this.usedAtMs = steadyNowMs();
    this.#leases++;
    for (let sandbox = this.#ready.shift(); sandbox; sandbox = this.#ready.shift()) {
      this.#leastReady = Math.min(this.#leastReady, this.#ready.length);
      if (sandbox.session.isReady && !this.#isOld(sandbox)) return sandbox;
      this.#discard(sandbox);
    }
    return undefined;
  }

  /** The next sandbox that is added, after those who came before. */
  wait(): Promise<Sandbox> {
    this.#misses++;
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  add(sandbox: Sandbox): void {
    const waiter = this.#waiters.shift();
    if (waiter === undefined) this.#ready.push(sandbox);
    else waiter.resolve(sandbox);
  }

  tookToMake(ms: number): void {
    const before = this.#creationMs === 0 ? ms : this.#creationMs;
    this.#creationMs = before + (ms - before) * NEWEST_PART;
  }

  /** What was asked since this was last called. */
  demand(periodMs: number): Demand {
    const demand = {
      leases: this.#leases,
      misses: this.#misses,
      leastReady: this.#leastReady,
      periodMs,
      creationMs: this.#creationMs,
    };
    this.#leases = 0;
    this.#misses = 0;
    this.#leastReady = this.#ready.length;
    return demand;
  }

  /** Tells whoever has waited longest that it gets none. */
  failOne(error: Error): void {
    this.#waiters.shift()?.reject(error);
  }

  /** Takes a ready sandbox out that went away by itself; false when it is not among them. */
  drop(sandbox: Sandbox): boolean {
    const at = this.#ready.indexOf(sandbox);
    if (at < 0) return false;
    this.#ready.splice(at, 1);
    this.#discard(sandbox);
    return true;
  }

  /** Keeps at most so many, none of them old. */
  trim(keep: number): void {
    const kept = this.#ready.filter((sandbox) => !this.#isOld(sandbox)).slice(0, keep);
    const dropped = this.#ready.filter((sandbox) => !kept.includes(sandbox));
    this.#ready = kept;
    for (const sandbox of dropped) this.#discard(sandbox);
  }

  /** Lets everything go and everybody know. */
  close(reason: Error): void {
    for (const waiter of this.#waiters.splice(0)) waiter.reject(reason);
    this.trim(0);
  }

  #isOld(sandbox: Sandbox): boolean {
    return steadyNowMs() - sandbox.createdAtMs > this.#maxAgeMs;
  }
}
