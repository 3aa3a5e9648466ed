/**
 * A connection to the Redis in memory, with what the product calls of ioredis. Commands arrive in the order in which they
 * were sent and replies come back in that order, each at a time of its own; the process can die between any two.
 */
import { createHash } from 'node:crypto';
import { EventEmitter } from 'node:events';
import type { Redis } from 'ioredis';
import { fieldsOf } from '../../../shared/queue/job-record.ts';
import { runScript } from './lua.ts';
import type { Reply, Store } from './store.ts';
import type { Mortal, Wire } from './wire.ts';

/** One Redis, and whoever listens on its channels. */
export interface Server {
  readonly wire: Wire;
  readonly store: Store;
  readonly scripts: Map<string, string>;
  readonly subscribers: Set<Connection>;
  /** Hears what each script answers. */
  readonly onReply: (reply: Reply) => void;
}

interface Sent {
  readonly label: string;
  readonly effect: () => unknown;
  readonly resolve: (reply: never) => void;
  readonly reject: (error: unknown) => void;
}

/** Sent in one go or alone, they arrive one by one. */
const COMMANDS = [
  ...['del', 'exists', 'get', 'hget', 'hgetall', 'hmget', 'keys', 'lrange', 'mget', 'pttl', 'set'],
  ...['setnx', 'smembers', 'srem', 'type', 'zadd', 'zcard', 'zrange', 'zrangebyscore', 'zrem'],
  ...['zremrangebyscore', 'zscore'],
] as const;

export class Connection extends EventEmitter {
  readonly server: Server;
  readonly owner: Mortal;
  readonly status = 'ready';
  readonly #channels = new Set<string>();
  readonly #out: Sent[] = [];
  readonly #back: (() => void)[] = [];
  #isSending = false;
  #isReceiving = false;
  #late = 0;

  constructor(server: Server, owner: Mortal) {
    super();
    this.server = server;
    this.owner = owner;
    for (const name of COMMANDS) {
      Object.assign(this, { [name]: (...args: unknown[]) => this.command(name, args) });
    }
  }

  /** Has an effect on the other side, once it has arrived; the answer comes back later. */
  send<T>(label: string, effect: () => T): Promise<T> {
    if (this.owner.isDead) return new Promise(() => {});
    return new Promise<T>((resolve, reject) => {
      this.#out.push({ label, effect, resolve: resolve as (reply: never) => void, reject });
      if (!this.#isSending) void this.#deliver();
    });
  }

  async command(name: string, args: readonly unknown[]): Promise<unknown> {
    const flat = args.flat().map(String);
    const reply = await this.send(name, () => this.server.store.call(name, flat));
    return name === 'hgetall' ? fieldsOf(reply as string[]) : reply;
  }

  evalsha(digest: string, count: number, ...rest: unknown[]): Promise<Reply> {
    return this.send('evalsha', () => {
      const script = this.server.scripts.get(digest);
      if (script === undefined) throw new Error('NOSCRIPT No matching script.');
      return this.#run(script, count, rest);
    });
  }

  eval(script: string, count: number, ...rest: unknown[]): Promise<Reply> {
    return this.send('eval', () => {
      this.server.scripts.set(createHash('sha1').update(script).digest('hex'), script);
      return this.#run(script, count, rest);
    });
  }

  #run(script: string, count: number, rest: readonly unknown[]): Reply {
    const all = rest.map(String);
    const reply = runScript(this.server.store, script, all.slice(0, count), all.slice(count));
    this.server.onReply(reply);
    return reply;
  }

  pipeline(): unknown {
    const sent: Promise<unknown>[] = [];
    const chain: Record<string, unknown> = {
      exec: async () =>
        (await Promise.allSettled(sent)).map((end) =>
          end.status === 'fulfilled' ? [null, end.value] : [end.reason, null],
        ),
    };
    for (const name of COMMANDS) {
      chain[name] = (...args: unknown[]) => {
        sent.push(this.command(name, args));
        return chain;
      };
    }
    return chain;
  }

  async subscribe(...channels: string[]): Promise<void> {
    for (const channel of channels) this.#channels.add(channel);
    this.server.subscribers.add(this);
  }

  /** A message, if it is for this one; it is lost with the process, or while the connection is cut. */
  hear(channel: string, message: string): void {
    if (!this.#channels.has(channel) || this.#isCut()) return;
    this.#receive(() => this.emit('message', channel, message));
  }

  disconnect(): void {
    this.server.subscribers.delete(this);
  }

  asRedis(): Redis {
    return this as unknown as Redis;
  }

  #isCut(): boolean {
    return performance.now() < this.owner.cutUntilMs;
  }

  async #passes(label: string): Promise<void> {
    const { owner, server } = this;
    await server.wire.turn(`${owner.name} ${label}`);
    while (this.#isCut()) {
      await new Promise((resolve) => setTimeout(resolve, owner.cutUntilMs - performance.now()));
      await server.wire.turn(`${owner.name} ${label} at last`);
    }
  }

  async #deliver(): Promise<void> {
    this.#isSending = true;
    for (let next = this.#out.shift(); next !== undefined; next = this.#out.shift()) {
      const { label, effect, resolve, reject } = next;
      await this.#passes(label);
      if (this.owner.isDead && this.#late++ >= this.owner.arriveAfterDeath) return;
      try {
        const reply = effect() as never;
        this.#receive(() => resolve(reply));
      } catch (error) {
        this.#receive(() => reject(error));
      }
    }
    this.#isSending = false;
  }

  #receive(act: () => void): void {
    this.#back.push(act);
    if (!this.#isReceiving) void this.#takeBack();
  }

  /** What lies in the socket is read in one go. */
  async #takeBack(): Promise<void> {
    this.#isReceiving = true;
    while (this.#back.length > 0) {
      await this.#passes('reads');
      if (this.owner.isDead) return;
      for (const act of this.#back.splice(0)) act();
    }
    this.#isReceiving = false;
  }
}
