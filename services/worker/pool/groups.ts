/**
 * Sandboxes that serve a group: jobs of one tenant that may share one, one after another, reset by the guest between
 * them. A sandbox belongs to its group and its shape for life. Sandboxes of jobs without a group pass straight through
 * to the pool and back, and so does the first lease and the end of all others.
 *
 * | a member is | meaning                                              | left by                            |
 * | ----------- | ---------------------------------------------------- | ---------------------------------- |
 * | leased      | a job of its group has it                            | retire()                           |
 * | resetting   | the guest clears up; a lease may wait for the end    | the reset's end, its failure       |
 * | idle        | clean, waiting for the next job of its group         | lease(), REUSE.idleMs, too many idle |
 * | gone        | retired to the pool, never looked at again           | -                                  |
 */
import type { Log } from '../../../shared/log.ts';
import { steadyNowMs } from '../../../shared/steady-clock.ts';
import { type Need, type Sandbox, type Shape, shapeKey } from '../sandbox/sandbox.ts';
import type { PoolFigures } from './pool.ts';

/** What bounds the life of a sandbox that is used more than once. */
export const REUSE = {
  jobs: 500,
  /** Since its first lease. */
  ageMs: 60_000,
  /** Without a job. */
  idleMs: 5_000,
  resetMs: 5_000,
} as const;

/** How often the times above are looked at, while there is anything to look at. */
const LOOK_MS = 1_000;

/** What groups need of the pool. */
export interface SandboxSource {
  start(): void;
  lease(shape: Shape): Promise<Sandbox>;
  /** Whether a lease would not have to wait. */
  hasReady(shape: Shape): boolean;
  retire(sandbox: Sandbox): void;
  isEngineFailing(): boolean;
  /** Throws a SandboxUnavailableError where even a sandbox that lives is of no use. */
  requireStreams(): void;
  figures(): PoolFigures;
  stop(): Promise<void>;
}

export interface GroupFigures extends PoolFigures {
  /** Sandboxes that wait for the next job of their group. */
  readonly kept: number;
}

interface Member {
  readonly sandbox: Sandbox;
  /** Group and shape. */
  readonly key: string;
  readonly leasedAtMs: number;
  jobs: number;
  /** Since when it has no job. */
  freeAtMs: number;
  /** True once it is clean, false when it cannot be; undefined when it is idle. */
  reset: Promise<boolean> | undefined;
}

export class Groups {
  readonly #pool: SandboxSource;
  readonly #mostKept: number;
  readonly #log: Log;
  readonly #leased = new Map<Sandbox, Member>();
  /** Resetting or idle, by group and shape; the newest last. */
  readonly #free = new Map<string, Member[]>();
  readonly #resetting = new Set<Member>();
  #kept = 0;
  #look: NodeJS.Timeout | undefined;
  #isStopping = false;

  /** Keeps one sandbox more than there are slots without a job: a hundred groups must not fill the host. */
  constructor({ pool, slots, log }: { pool: SandboxSource; slots: number; log: Log }) {
    this.#pool = pool;
    this.#mostKept = slots + 1;
    this.#log = log;
  }

  start(): void {
    this.#pool.start();
  }

  readonly isEngineFailing = (): boolean => this.#pool.isEngineFailing();

  figures(): GroupFigures {
    const figures = this.#pool.figures();
    return { ...figures, leased: figures.leased - this.#kept, kept: this.#kept };
  }

  async lease({ shape, group }: Need): Promise<Sandbox> {
    this.#pool.requireStreams();
    if (group === null) return this.#pool.lease(shape);
    const key = `${group}\n${shapeKey(shape)}`;
    if (this.#wantsSpare(key, shape)) return this.#begin(key, shape);
    for (let member = this.#takeFree(key); member; member = this.#takeFree(key)) {
      // Only one lease waits for a reset, and it is faster than any other way to a sandbox.
      const isClean = member.reset === undefined || (await member.reset);
      if (isClean && this.#isUsable(member)) return this.#hand(member);
      this.#pool.retire(member.sandbox);
    }
    return this.#begin(key, shape);
  }

  /** A first lease. */
  async #begin(key: string, shape: Shape): Promise<Sandbox> {
    const sandbox = await this.#pool.lease(shape);
    const leasedAtMs = steadyNowMs();
    return this.#hand({ sandbox, key, leasedAtMs, jobs: 0, freeAtMs: 0, reset: undefined });
  }

  /** One more than there are slots: then a job need not wait for the reset after the one before. */
  #wantsSpare(key: string, shape: Shape): boolean {
    const free = this.#free.get(key);
    if (free === undefined || free.some(({ reset }) => reset === undefined)) return false;
    return this.#leased.size + this.#kept < this.#mostKept && this.#pool.hasReady(shape);
  }

  /** The lease is over; a reusable sandbox may serve its group again after a reset, any other is removed. */
  retire(sandbox: Sandbox, { isReusable }: { isReusable: boolean }): void {
    const member = this.#leased.get(sandbox);
    this.#leased.delete(sandbox);
    if (member === undefined || !isReusable || this.#isStopping || this.#isSpent(member)) {
      return this.#pool.retire(sandbox);
    }
    member.freeAtMs = steadyNowMs();
    const free = this.#free.get(member.key);
    if (free === undefined) this.#free.set(member.key, [member]);
    else free.push(member);
    this.#kept++;
    member.reset = this.#resetOf(member);
    this.#look ??= setInterval(() => this.#lookAround(), LOOK_MS).unref();
    if (this.#kept > this.#mostKept) this.#letGoOldest();
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    clearInterval(this.#look);
    this.#letGo(() => true);
    await this.#pool.stop();
  }

  #hand(member: Member): Sandbox {
    member.jobs++;
    this.#leased.set(member.sandbox, member);
    return member.sandbox;
  }

  /** The newest idle one, so that what is not needed grows old and goes; else the one whose reset began first. */
  #takeFree(key: string): Member | undefined {
    const free = this.#free.get(key);
    if (free === undefined) return undefined;
    const idle = free.findLastIndex(({ reset }) => reset === undefined);
    const [member] = free.splice(Math.max(idle, 0), 1);
    if (free.length === 0) this.#free.delete(key);
    this.#kept--;
    return member;
  }

  async #resetOf(member: Member): Promise<boolean> {
    const { sandbox } = member;
    this.#resetting.add(member);
    try {
      await sandbox.session.reset();
      member.reset = undefined;
      return true;
    } catch (error) {
      this.#log.warn({ err: error, sandbox: sandbox.id.slice(0, 12) }, 'a reset failed');
      this.#letGo((one) => one === member);
      return false;
    } finally {
      this.#resetting.delete(member);
    }
  }

  #isSpent({ jobs, leasedAtMs }: Member): boolean {
    return jobs >= REUSE.jobs || steadyNowMs() - leasedAtMs >= REUSE.ageMs;
  }

  #isUsable(member: Member): boolean {
    return member.sandbox.session.isReady && !this.#isSpent(member) && !this.#isStopping;
  }

  #lookAround(): void {
    const nowMs = steadyNowMs();
    for (const { sandbox, freeAtMs } of this.#resetting) {
      // Its stream gone, the reset fails by itself, and whoever waits for it is told.
      if (nowMs - freeAtMs >= REUSE.resetMs) sandbox.disconnect();
    }
    this.#letGo(
      (member) =>
        member.reset === undefined &&
        (nowMs - member.freeAtMs >= REUSE.idleMs || !this.#isUsable(member)),
    );
    if (this.#kept + this.#resetting.size > 0) return;
    clearInterval(this.#look);
    this.#look = undefined;
  }

  #letGoOldest(): void {
    const free = [...this.#free.values()].flat();
    const oldest = free.reduce((one, other) => (other.freeAtMs < one.freeAtMs ? other : one));
    this.#letGo((member) => member === oldest);
  }

  #letGo(isDone: (member: Member) => boolean): void {
    for (const [key, free] of this.#free) {
      const done = free.filter(isDone);
      if (done.length === 0) continue;
      const left = free.filter((member) => !done.includes(member));
      if (left.length > 0) this.#free.set(key, left);
      else this.#free.delete(key);
      this.#kept -= done.length;
      for (const { sandbox } of done) this.#pool.retire(sandbox);
    }
  }
}
