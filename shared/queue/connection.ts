/** Connections to Redis: one way to make each kind. */
import { Redis, type RedisOptions } from 'ioredis';
import type { Log } from '../log.ts';

/** Where Redis is: a URL, or the path of a socket. */
export interface RedisAddress {
  readonly url?: string;
  readonly socket?: string;
}

const COMMAND_TIMEOUT_MS = 2_000;
const CONNECT_TIMEOUT_MS = 5_000;
const RECONNECT_MAX_MS = 1_000;

const reconnectDelay = (attempt: number): number => Math.min(attempt * 50, RECONNECT_MAX_MS);

const KINDS = {
  /** For requests: fails fast, so that a caller hears 503 instead of waiting. */
  request: {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    commandTimeout: COMMAND_TIMEOUT_MS,
  },
  /** For work that must get through: waits for Redis to come back. */
  patient: { maxRetriesPerRequest: null },
} as const satisfies Record<string, RedisOptions>;

export type ConnectionKind = keyof typeof KINDS;

const CONNECTION_ERRORS =
  /Command timed out|Stream isn't writeable|Connection is closed|max retries per request|ECONN|EPIPE|ENOENT/;
/** Redis answers, but refuses to write or to read. */
const STORE_REPLIES = /^(OOM|MISCONF|READONLY|LOADING|CLUSTERDOWN|MASTERDOWN|NOREPLICAS|BUSY) /;

/** Whether an error means that Redis is away or refuses its work, rather than that we made a mistake. */
export const isStoreFailure = (error: unknown): boolean =>
  error instanceof Error &&
  (CONNECTION_ERRORS.test(error.message) || STORE_REPLIES.test(error.message));

/** A connection that is being made; commands on a patient one wait for it. */
export function connectRedis(address: RedisAddress, kind: ConnectionKind, log: Log): Redis {
  const options: RedisOptions = {
    ...KINDS[kind],
    connectTimeout: CONNECT_TIMEOUT_MS,
    retryStrategy: reconnectDelay,
  };
  const redis =
    address.socket !== undefined
      ? new Redis({ ...options, path: address.socket })
      : new Redis(address.url ?? '', options);
  redis.on('error', (error) => log.warn({ err: error }, 'redis connection'));
  return redis;
}

/** Resolves once commands are answered, or rejects after `withinMs`. */
export async function waitUntilReady(redis: Redis, withinMs: number): Promise<void> {
  if (redis.status === 'ready') return;
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      redis.off('ready', onReady);
      reject(new Error(`Redis did not answer within ${withinMs} ms.`));
    }, withinMs);
    const onReady = (): void => {
      clearTimeout(timer);
      resolve();
    };
    redis.once('ready', onReady);
  });
}
