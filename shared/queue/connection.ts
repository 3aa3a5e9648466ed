/** Connections to Redis: one way to make each kind, to one server, one under Sentinel, or a Cluster. */
import {
  type ChainableCommander,
  Cluster,
  type ClusterOptions,
  Redis,
  type RedisOptions,
} from 'ioredis';
import { parseRedisUrl, type RedisPlace } from '../config/redis-url.ts';
import type { Log } from '../log.ts';
import { keys } from './keys.ts';
import { leaveWhenSilent } from './silence.ts';

/** Where Redis is: a URL (see shared/config/redis-url.ts), or the path of a socket. */
export interface RedisAddress {
  readonly url?: string;
  readonly socket?: string;
}

const COMMAND_TIMEOUT_MS = 2_000;
const CONNECT_TIMEOUT_MS = 5_000;
const RECONNECT_MAX_MS = 1_000;
/** A Sentinel that does not answer is passed over; there are others. */
const SENTINEL_TIMEOUT_MS = 1_000;
/** How often a Cluster whose members change is asked again where a command belongs. */
const LOOK_AGAIN_MS = 100;
/** How often it is asked who its members are. */
const MEMBERS_MS = 5_000;
/** A request follows a key that has moved, and no more. */
const MAX_MOVES = 4;

const reconnectDelay = (attempt: number): number => Math.min(attempt * 50, RECONNECT_MAX_MS);
/** What a former primary answers: the connection is to a server that is not the one any more. */
const isDemoted = (error: Error): boolean => error.message.startsWith('READONLY');

const KINDS = {
  /** For requests: fails fast, so that a caller hears 503 instead of waiting. */
  request: {
    server: {
      maxRetriesPerRequest: 0,
      commandTimeout: COMMAND_TIMEOUT_MS,
      // Connects anew; the command fails.
      reconnectOnError: (error: Error) => isDemoted(error) && 1,
    },
    enableOfflineQueue: false,
    cluster: { retryDelayOnFailover: 0, retryDelayOnClusterDown: 0, maxRedirections: MAX_MOVES },
  },
  /** For work that must get through: waits for Redis to come back. */
  patient: {
    server: {
      maxRetriesPerRequest: null,
      // Connects anew, and sends the command again.
      reconnectOnError: (error: Error) => isDemoted(error) && 2,
    },
    enableOfflineQueue: true,
    cluster: {
      retryDelayOnFailover: LOOK_AGAIN_MS,
      retryDelayOnClusterDown: LOOK_AGAIN_MS,
      maxRedirections: Number.POSITIVE_INFINITY,
    },
  },
} as const satisfies Record<
  string,
  { server: RedisOptions; enableOfflineQueue: boolean; cluster: ClusterOptions }
>;

export type ConnectionKind = keyof typeof KINDS;

const CONNECTION_ERRORS =
  /Command timed out|Stream isn't writeable|Connection is closed|connection close|max retries per request|ECONN|EPIPE|ENOENT|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|EAI_AGAIN|Cluster isn't ready|Cluster is ended|startup nodes|slots cache|Cluster redirections|sentinels are unreachable/;
/** Redis answers, but refuses to write or to read; inside a script of an older one, behind a sentence of its own. */
const STORE_REPLIES =
  /(^|-)(OOM|MISCONF|READONLY|LOADING|CLUSTERDOWN|MASTERDOWN|NOREPLICAS|BUSY|TRYAGAIN|EXECABORT) /;

/** Whether Redis answered that it does not take this now: its memory or its disk is full, or it is no primary. */
export const isRefusal = (error: unknown): boolean =>
  error instanceof Error && STORE_REPLIES.test(error.message);

/** Whether an error means that Redis is away or refuses its work, rather than that we made a mistake. */
export const isStoreFailure = (error: unknown): boolean =>
  isRefusal(error) || (error instanceof Error && CONNECTION_ERRORS.test(error.message));

/** A connection that is being made; commands on a patient one wait for it. */
export function connectRedis(address: RedisAddress, kind: ConnectionKind, log: Log): Redis {
  const redis = open(address, kind);
  redis.on('error', (error) => log.warn({ err: error }, 'redis connection'));
  leaveWhenSilent(redis, log);
  return redis;
}

function open({ socket, url = '' }: RedisAddress, kind: ConnectionKind): Redis {
  const { server, enableOfflineQueue } = KINDS[kind];
  const options: RedisOptions = {
    ...server,
    enableOfflineQueue,
    connectTimeout: CONNECT_TIMEOUT_MS,
    retryStrategy: reconnectDelay,
  };
  if (socket !== undefined) return new Redis({ ...options, path: socket });
  const place = parseRedisUrl(url);
  if (place.kind === 'cluster') return openCluster(place, kind);
  const common = { ...options, ...place.credentials, ...tlsOf(place), db: place.db };
  if (place.kind === 'single') return new Redis({ ...common, ...place.node });
  const { username, password } = place.sentinelCredentials;
  return new Redis({
    ...common,
    sentinels: [...place.sentinels],
    name: place.name,
    ...(username === undefined ? {} : { sentinelUsername: username }),
    ...(password === undefined ? {} : { sentinelPassword: password }),
    ...(place.isTls ? { enableTLSForSentinelMode: true, sentinelTLS: {} } : {}),
    sentinelCommandTimeout: SENTINEL_TIMEOUT_MS,
    // A primary that fell silent closes no connection: the Sentinels say that it is not one any more.
    failoverDetector: true,
  });
}

/**
 * All our keys are in one slot, so a Cluster answers every command as one server does; commands without a key have to
 * go through `besideOurKeys`. It is not a `Redis` to the compiler, but has all of it that is used.
 */
function openCluster(place: RedisPlace & { kind: 'cluster' }, kind: ConnectionKind): Redis {
  const { server, enableOfflineQueue, cluster } = KINDS[kind];
  return new Cluster([...place.nodes], {
    ...cluster,
    enableOfflineQueue,
    clusterRetryStrategy: reconnectDelay,
    slotsRefreshTimeout: COMMAND_TIMEOUT_MS,
    // A connection that only listens would not find out otherwise that its server has left.
    slotsRefreshInterval: MEMBERS_MS,
    // By the name that the operator gave, which a certificate is for.
    dnsLookup: (host, callback) => callback(null, host),
    redisOptions: {
      ...server,
      ...place.credentials,
      ...tlsOf(place),
      connectTimeout: CONNECT_TIMEOUT_MS,
    },
  }) as unknown as Redis;
}

const tlsOf = ({ isTls }: RedisPlace): Pick<RedisOptions, 'tls'> => (isTls ? { tls: {} } : {});

/**
 * Whether commands arrive as they were sent, over a break of the connection too. In a Cluster each finds its server
 * by itself, and one that was told to look again comes later.
 */
export const keepsOrder = (redis: Redis): boolean => !redis.isCluster;

/** Sends a command that names no key to the server that holds our keys; a Cluster would send it to any. */
export async function besideOurKeys(
  redis: Redis,
  add: (behind: ChainableCommander) => ChainableCommander,
): Promise<unknown> {
  const answers = await add(redis.pipeline().exists(keys.installation())).exec();
  const [error, answer] = answers?.at(-1) ?? [];
  if (error) throw error;
  return answer;
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
