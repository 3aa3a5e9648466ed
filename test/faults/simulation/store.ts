/**
 * As much of Redis as a job's life needs, in memory: the commands that the product's scripts and readers call, with
 * Redis's replies. It is held to the real one by redis-model.test.ts.
 */
export type Reply = string | number | null | Reply[];

type Hash = Map<string, string>;
type Scores = Map<string, number>;
type Value = string | Hash | Scores | Set<string> | string[];

interface Entry {
  value: Value;
  expiresAtMs: number;
}

export interface StoreOptions {
  /** Redis's own clock: it may differ from everybody else's. */
  readonly nowMs: () => number;
  readonly publish: (channel: string, message: string) => void;
}

export class Store {
  readonly #entries = new Map<string, Entry>();
  readonly #options: StoreOptions;

  constructor(options: StoreOptions) {
    this.#options = options;
  }

  call(name: string, args: readonly string[]): Reply {
    const command = COMMANDS[name.toUpperCase()];
    if (command === undefined) throw new Error(`ERR unknown command '${name}'`);
    return command(this, args);
  }

  get nowMs(): number {
    return this.#options.nowMs();
  }

  publish(channel: string, message: string): void {
    this.#options.publish(channel, message);
  }

  entry(key: string): Entry | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    const { value } = entry;
    const isEmpty = Array.isArray(value)
      ? value.length === 0
      : typeof value === 'object' && !value.size;
    if (!isEmpty && entry.expiresAtMs > this.nowMs) return entry;
    this.#entries.delete(key);
    return undefined;
  }

  get<V extends Value>(key: string): V | undefined {
    return this.entry(key)?.value as V | undefined;
  }

  /** The value of a key, made where there is none. */
  at<V extends Value>(key: string, make: () => V): V {
    const there = this.get<V>(key);
    if (there !== undefined) return there;
    const value = make();
    this.set(key, value);
    return value;
  }

  set(key: string, value: Value, expiresAtMs = Number.POSITIVE_INFINITY): void {
    this.#entries.set(key, { value, expiresAtMs });
  }

  delete(key: string): boolean {
    return this.entry(key) !== undefined && this.#entries.delete(key);
  }

  keys(): string[] {
    return [...this.#entries.keys()].filter((key) => this.entry(key) !== undefined).toSorted();
  }
}

type Command = (store: Store, args: readonly string[]) => Reply;

const text = (args: readonly string[], at: number): string => args[at] as string;
const hash = (store: Store, key: string): Hash => store.at<Hash>(key, () => new Map());
const scores = (store: Store, key: string): Scores => store.at<Scores>(key, () => new Map());
const list = (store: Store, key: string): string[] => store.at<string[]>(key, () => []);
const count = (isSo: boolean | undefined): number => (isSo ? 1 : 0);
const pairs = (args: readonly string[]): [string, string][] =>
  Array.from({ length: args.length / 2 }, (_, at) => [text(args, 2 * at), text(args, 2 * at + 1)]);

/** Members by score, those of one score by name, as Redis keeps them. */
const ordered = (store: Store, key: string): [string, number][] =>
  [...(store.get<Scores>(key) ?? [])].toSorted(
    ([a, one], [b, other]) => one - other || (a < b ? -1 : 1),
  );

const bound = (from: string): ((score: number, side: 1 | -1) => boolean) => {
  const isOpen = from.startsWith('(');
  const edge = from.endsWith('inf')
    ? Number(`${from.slice(0, -3)}Infinity`)
    : Number(isOpen ? from.slice(1) : from);
  return (score, side) => (isOpen ? side * (score - edge) > 0 : side * (score - edge) >= 0);
};

const within = (store: Store, [key, least, most]: readonly string[]): [string, number][] => {
  const [isAbove, isBelow] = [bound(least as string), bound(most as string)];
  return ordered(store, key as string).filter(
    ([, score]) => isAbove(score, 1) && isBelow(score, -1),
  );
};

const slice = <T>(all: readonly T[], from: string, to: string): T[] => {
  const place = (at: number): number => (at < 0 ? Math.max(0, all.length + at) : at);
  return all.slice(
    place(Number(from)),
    (Number(to) < 0 ? all.length + Number(to) : Number(to)) + 1,
  );
};

const deleted = <T>(from: { delete(one: T): boolean } | undefined, ones: readonly T[]): number =>
  ones.filter((one) => from?.delete(one)).length;

function typeOf(value: Value | undefined): string {
  if (value === undefined) return 'none';
  if (typeof value === 'string') return 'string';
  if (Array.isArray(value)) return 'list';
  if (value instanceof Set) return 'set';
  return [...value.values()].some((one) => typeof one === 'number') ? 'zset' : 'hash';
}

const COMMANDS: Readonly<Record<string, Command>> = {
  TIME: ({ nowMs }) => [String(Math.floor(nowMs / 1000)), String((nowMs % 1000) * 1000)],
  PUBLISH: (store, [channel, message]) => {
    store.publish(channel as string, message as string);
    return 1;
  },

  GET: (store, args) => store.get<string>(text(args, 0)) ?? null,
  MGET: (store, args) => args.map((key) => store.get<string>(key) ?? null),
  SET(store, [key, value, , ttlMs]) {
    const lifeMs = ttlMs === undefined ? Number.POSITIVE_INFINITY : Number(ttlMs);
    store.set(key as string, value as string, store.nowMs + lifeMs);
    return 'OK';
  },
  SETNX(store, [key, value]) {
    if (store.entry(key as string) !== undefined) return 0;
    store.set(key as string, value as string);
    return 1;
  },
  KEYS: (store) => store.keys(),
  TYPE: (store, args) => typeOf(store.get(text(args, 0))),
  PTTL(store, args) {
    const { expiresAtMs = 0 } = store.entry(text(args, 0)) ?? {};
    return expiresAtMs === Number.POSITIVE_INFINITY ? -1 : expiresAtMs - store.nowMs;
  },
  DEL: (store, args) => args.filter((key) => store.delete(key)).length,
  EXISTS: (store, args) => args.filter((key) => store.entry(key) !== undefined).length,
  PEXPIRE(store, [key, lifeMs]) {
    const entry = store.entry(key as string);
    if (entry !== undefined) entry.expiresAtMs = store.nowMs + Number(lifeMs);
    return count(entry !== undefined);
  },
  RENAME(store, [from, to]) {
    const entry = store.entry(from as string) as Entry;
    store.delete(from as string);
    store.set(to as string, entry.value, entry.expiresAtMs);
    return 'OK';
  },

  HGET: (store, [key, field]) => store.get<Hash>(key as string)?.get(field as string) ?? null,
  HMGET: (store, [key, ...fields]) =>
    fields.map((field) => store.get<Hash>(key as string)?.get(field) ?? null),
  HGETALL: (store, args) => [...(store.get<Hash>(text(args, 0)) ?? [])].flat(),
  HKEYS: (store, args) => [...(store.get<Hash>(text(args, 0))?.keys() ?? [])],
  HEXISTS: (store, [key, field]) => count(store.get<Hash>(key as string)?.has(field as string)),
  HSET(store, [key, ...fields]) {
    const into = hash(store, key as string);
    const before = into.size;
    for (const [field, value] of pairs(fields)) into.set(field, value);
    return into.size - before;
  },
  HDEL: (store, [key, ...fields]) => deleted(store.get<Hash>(key as string), fields),
  HINCRBY(store, [key, field, by]) {
    const into = hash(store, key as string);
    const sum = Number(into.get(field as string) ?? 0) + Number(by);
    into.set(field as string, String(sum));
    return sum;
  },

  SADD(store, [key, ...members]) {
    const into = store.at<Set<string>>(key as string, () => new Set());
    const before = into.size;
    for (const member of members) into.add(member);
    return into.size - before;
  },
  SREM: (store, [key, ...members]) => deleted(store.get<Set<string>>(key as string), members),
  SMEMBERS: (store, args) => [...(store.get<Set<string>>(text(args, 0)) ?? [])],

  RPUSH(store, [key, ...values]) {
    return list(store, key as string).push(...values);
  },
  LPOP: (store, args) => store.get<string[]>(text(args, 0))?.shift() ?? null,
  LLEN: (store, args) => store.get<string[]>(text(args, 0))?.length ?? 0,
  LINDEX: (store, [key, at]) => store.get<string[]>(key as string)?.at(Number(at)) ?? null,
  LRANGE: (store, [key, from, to]) =>
    slice(store.get<string[]>(key as string) ?? [], from as string, to as string),

  ZADD(store, [key, ...rest]) {
    const isNew = rest[0] === 'NX';
    const into = scores(store, key as string);
    const before = into.size;
    for (const [score, member] of pairs(isNew ? rest.slice(1) : rest)) {
      if (!(isNew && into.has(member))) into.set(member, Number(score));
    }
    return into.size - before;
  },
  ZREM: (store, [key, ...members]) => deleted(store.get<Scores>(key as string), members),
  ZCARD: (store, args) => store.get<Scores>(text(args, 0))?.size ?? 0,
  ZSCORE(store, [key, member]) {
    const score = store.get<Scores>(key as string)?.get(member as string);
    return score === undefined ? null : String(score);
  },
  ZRANGE: (store, [key, from, to, withScores]) =>
    slice(ordered(store, key as string), from as string, to as string).flatMap(([member, score]) =>
      withScores === undefined ? [member] : [member, String(score)],
    ),
  ZRANGEBYSCORE(store, args) {
    const [, , , limit, skip, most] = args;
    const found = within(store, args).map(([member]) => member);
    return limit === undefined ? found : found.slice(Number(skip), Number(skip) + Number(most));
  },
  ZREMRANGEBYSCORE: (store, args) =>
    deleted(
      store.get<Scores>(text(args, 0)),
      within(store, args).map(([member]) => member),
    ),
};
