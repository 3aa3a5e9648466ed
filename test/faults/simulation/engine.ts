/** Sandboxes on one host that several workers share, as the engine keeps them: an implementation of the product's own interface. */
import {
  type ListedSandbox,
  type Order,
  type Sandbox,
  type SandboxEngine,
  SandboxUnavailableError,
} from '../../../services/worker/sandbox/sandbox.ts';
import { Guest } from './guest.ts';
import type { Mortal, Wire } from './wire.ts';
import type { Witness } from './witness.ts';

/** The product gives every call to its engine a limit; one that hangs ends as a failure then. */
const CALL_LIMIT_MS = 30_000;

interface Container {
  readonly listed: ListedSandbox;
  readonly guest: Guest;
}

export class Host {
  readonly containers = new Map<string, Container>();
  /** Until when calls fail, or hang. */
  failsUntilMs = 0;
  hangsUntilMs = 0;
  readonly #wire: Wire;
  readonly #witness: Witness;

  constructor(wire: Wire, witness: Witness) {
    this.#wire = wire;
    this.#witness = witness;
  }

  /** The engine as one worker sees it. */
  engineOf(owner: Mortal, installation: string): SandboxEngine {
    // Its guests see the end of their input.
    owner.onDeath(() => {
      for (const { listed, guest } of this.containers.values()) {
        if (listed.worker === owner.name) void this.#endLater(guest);
      }
    });
    return {
      runtimes: ['runc'],
      kernel: '6.1',
      create: (order) => this.#create(owner, installation, order),
      canBecome: () => false,
      update: async () => {
        throw new Error('not here');
      },
      remove: async (nonce) => {
        await this.#call(owner, 'remove');
        this.containers.get(nonce)?.guest.die('removed');
        this.containers.delete(nonce);
        await this.#answer(owner, 'removed');
      },
      list: async () => {
        await this.#call(owner, 'list');
        return [...this.containers.values()].map(({ listed }) => listed);
      },
      ping: () => this.#call(owner, 'ping'),
    };
  }

  /** The engine is started again: every guest is gone, what is left of its sandbox is not. */
  restart(): void {
    for (const { guest } of this.containers.values()) guest.die('the engine was restarted');
  }

  /** Somebody removes one by hand. */
  evict(at: number): void {
    const nonces = [...this.containers.keys()];
    const nonce = nonces[at % Math.max(1, nonces.length)];
    if (nonce === undefined) return;
    this.containers.get(nonce)?.guest.die('removed by hand');
    this.containers.delete(nonce);
  }

  async #create(owner: Mortal, installation: string, order: Order): Promise<Sandbox> {
    await this.#call(owner, 'create');
    const { nonce, uid, deadlineMs, shape } = order;
    const guest = new Guest(this.#wire, this.#witness, owner.name);
    const listed = { nonce, uid, deadlineMs, installation, worker: owner.name };
    this.containers.set(nonce, { listed, guest });
    await this.#answer(owner, 'created');
    return {
      id: nonce,
      nonce,
      uid,
      shape,
      imageDigest: 'sha256:0',
      createdAtMs: Date.now(),
      session: guest.session,
      closed: guest.closed,
      causeOfDeath: async () => undefined,
      end: async () => guest.die('ended'),
      disconnect: () => guest.die('disconnected'),
    };
  }

  async #call(owner: Mortal, what: string): Promise<void> {
    await this.#wire.turn(`${owner.name} engine ${what}`);
    if (owner.isDead) await never();
    if (performance.now() < this.hangsUntilMs) {
      await new Promise((resolve) => setTimeout(resolve, CALL_LIMIT_MS));
      throw new SandboxUnavailableError('the engine did not answer');
    }
    if (performance.now() < this.failsUntilMs)
      throw new SandboxUnavailableError('the engine fails');
  }

  /** The call has had its effect; whoever made it may never hear of it. */
  async #answer(owner: Mortal, what: string): Promise<void> {
    await this.#wire.turn(`${owner.name} engine ${what}`);
    if (owner.isDead) {
      for (const { listed, guest } of this.containers.values()) {
        if (listed.worker === owner.name) guest.die('its worker died');
      }
      await never();
    }
  }

  async #endLater(guest: Guest): Promise<void> {
    await this.#wire.turn('a guest sees its input end');
    guest.die('its worker died');
  }
}

const never = (): Promise<never> => new Promise(() => {});
