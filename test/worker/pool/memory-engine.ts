/**
 * Sandboxes that are nothing but an entry in a map: an implementation of the engine for what the pool does with one, so
 * that creations and removals end when a test says so, in the order that it says, or fail.
 */

import { TO_GUEST } from '../../../services/worker/protocol/frame.ts';
import { GuestLostError, GuestSession } from '../../../services/worker/protocol/session.ts';
import {
  type ListedSandbox,
  type Order,
  type Sandbox,
  type SandboxEngine,
  SandboxUnavailableError,
  type Shape,
} from '../../../services/worker/sandbox/sandbox.ts';
import { steadyNowMs } from '../../../shared/steady-clock.ts';
import { framesOf, hello } from '../protocol/frames.ts';

export const SHAPE: Shape = {
  image: 'base',
  runtime: 'runc',
  memoryMb: 64,
  cpus: 1,
  processes: 16,
  workspaceMb: 16,
};

export interface Creation {
  readonly order: Order;
  succeed(): Sandbox;
  fail(error?: Error): void;
}

export class MemoryEngine implements SandboxEngine {
  readonly runtimes = ['runc'] as const;
  readonly kernel = '6.1';
  /** What exists, by nonce. */
  readonly existing = new Map<string, Order>();
  /** Every order there ever was. */
  readonly orders: Order[] = [];
  readonly removed: string[] = [];
  /** The most calls that were under way at once. */
  mostAtOnce = 0;
  /** Creations that a test has to end; unless `isManual` they end by themselves. */
  readonly pending: Creation[] = [];
  isManual = false;
  isSilent = false;
  /** Thrown by the next creations, in turn. */
  readonly creationFailures: Error[] = [];
  /** Thrown by the next removals, in turn. */
  readonly removalFailures: Error[] = [];
  /** Removals that do not end before `letGo`. */
  hangs: (nonce: string) => boolean = () => false;
  readonly #hung: (() => void)[] = [];
  /** Whether sandboxes can be put under other limits. */
  canChange = false;
  /** Thrown by the next changes of limits, in turn. */
  readonly updateFailures: Error[] = [];
  readonly updated: Shape[] = [];
  updateTakesMs = 0;
  /** What guests do when they are told to reset; `late` waits for `endResets`. */
  reset: 'clean' | 'dirty' | 'late' = 'clean';
  resets = 0;
  readonly #lateResets: (() => void)[] = [];
  listed: ListedSandbox[] = [];
  #atOnce = 0;

  async ping(): Promise<void> {
    if (this.isSilent) throw new Error('no answer');
  }

  async create(order: Order): Promise<Sandbox> {
    this.orders.push(order);
    return this.#counted(async () => {
      const failure = this.creationFailures.shift();
      if (failure !== undefined) throw failure;
      this.existing.set(order.nonce, order);
      if (!this.isManual) return this.#sandboxOf(order);
      return new Promise<Sandbox>((resolve, reject) => {
        this.pending.push({
          order,
          succeed: () => {
            const sandbox = this.#sandboxOf(order);
            resolve(sandbox);
            return sandbox;
          },
          fail: (error = new SandboxUnavailableError('no')) => {
            this.existing.delete(order.nonce);
            reject(error);
          },
        });
      });
    });
  }

  canBecome(from: Shape, to: Shape): boolean {
    return this.canChange && from.image === to.image && from.workspaceMb === to.workspaceMb;
  }

  async update(sandbox: Sandbox, shape: Shape): Promise<Sandbox> {
    if (this.updateTakesMs > 0) {
      await new Promise((resolve) => setTimeout(resolve, this.updateTakesMs));
    }
    const failure = this.updateFailures.shift();
    if (failure !== undefined) throw failure;
    this.updated.push(shape);
    return { ...sandbox, shape };
  }

  remove(nonce: string): Promise<void> {
    return this.#counted(async () => {
      await Promise.resolve();
      if (this.hangs(nonce)) await new Promise<void>((resolve) => this.#hung.push(resolve));
      const failure = this.removalFailures.shift();
      if (failure !== undefined) throw failure;
      this.existing.delete(nonce);
      this.removed.push(nonce);
    });
  }

  async list(): Promise<ListedSandbox[]> {
    return this.listed;
  }

  async #counted<T>(work: () => Promise<T>): Promise<T> {
    this.#atOnce++;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.#atOnce);
    try {
      return await work();
    } finally {
      this.#atOnce--;
    }
  }

  letGo(): void {
    this.hangs = () => false;
    for (const goOn of this.#hung.splice(0)) goOn();
  }

  endResets(): void {
    for (const end of this.#lateResets.splice(0)) end();
  }

  #onReset(session: GuestSession): void {
    this.resets++;
    const clean = (): void => session.receive(hello());
    if (this.reset === 'clean') setImmediate(clean);
    else if (this.reset === 'late') this.#lateResets.push(clean);
    else setImmediate(() => session.fail(new GuestLostError('a process is left')));
  }

  #sandboxOf({ nonce, uid, shape }: Order): Sandbox {
    const session: GuestSession = new GuestSession({
      write: (bytes: Buffer) => {
        if (framesOf(bytes).some(({ type }) => type === TO_GUEST.RESET)) this.#onReset(session);
        return true;
      },
    });
    session.receive(hello());
    let announceClosed: () => void = () => {};
    const closed = new Promise<void>((resolve) => {
      announceClosed = resolve;
    });
    const disconnect = (): void => {
      session.fail(new GuestLostError('disconnected'));
      announceClosed();
    };
    return {
      id: `id-${nonce}`,
      nonce,
      uid,
      shape,
      imageDigest: 'sha256:0',
      createdAtMs: steadyNowMs(),
      session,
      closed,
      causeOfDeath: async () => undefined,
      end: async () => disconnect(),
      disconnect,
    };
  }
}
