/**
 * Every setting of every process, by environment variable: what it means, its default, and what it accepts. A service
 * reads the ones it needs; all read one environment, so a name that is not here is a fault wherever it turns up.
 * `docs/configuration.md` holds the same rows; a test compares both.
 */
import { z } from 'zod';
import { BLOB_SETTINGS, type BlobSettings, blobSettings } from './blob-settings.ts';
import { LIMITS, type Limit, type LimitName, limitVariable } from './limits.ts';
import { LOAD_SETTINGS } from './load-settings.ts';
import { faultsOfPool, leastReady, POOL_SETTINGS } from './pool-settings.ts';
import { parseRedisUrl } from './redis-url.ts';
import {
  faultsOfRuntimes,
  RUNTIME_SETTINGS,
  type RuntimeSettings,
  runtimeSettings,
} from './runtime-settings.ts';
import { decimal, integer, type Setting, setting } from './setting.ts';
import { TRUST_SETTINGS, type TrustSettings, trustSettings } from './trust-settings.ts';

const MIB = 1024 * 1024;

const redisUrl = z.string().superRefine((text, context) => {
  try {
    parseRedisUrl(text);
  } catch (error) {
    context.addIssue({ code: 'custom', message: (error as Error).message });
  }
});

export const SETTINGS = {
  COFFERDAM_HOST: setting('127.0.0.1', z.string().min(1), 'Address that the API listens on.'),
  COFFERDAM_PORT: setting(
    '7070',
    integer(0, 65_535),
    'Port that the API listens on; 0 takes a free one.',
  ),
  COFFERDAM_DATA_DIR: setting(
    './.cofferdam',
    z.string().min(1),
    'Folder of the embedded Redis and of the generated key.',
  ),
  COFFERDAM_DEV_KEY: setting(
    undefined,
    z
      .string()
      .regex(/^[\x21-\x7e]{32,512}$/, 'expected 32 to 512 printable characters')
      .optional(),
    'The key that callers send. Without it one is made and kept in the data folder.',
  ),
  COFFERDAM_REDIS_URL: setting(
    undefined,
    redisUrl.optional(),
    'The Redis to use: one, one under Sentinel, or a Cluster; see below. Without it `cofferdam serve` runs its own.',
  ),
  COFFERDAM_LOG_LEVEL: setting(
    'info',
    z.enum(['debug', 'info', 'warn', 'error', 'silent']),
    'Least level that is logged.',
  ),
  COFFERDAM_IMAGES: setting(
    undefined,
    z.string().min(1).optional(),
    'The image catalogue, a JSON file. Without it, images/catalogue.json of this package.',
  ),
  COFFERDAM_DEFAULT_IMAGE: setting('base', z.string().min(1), 'Image of a job that names none.'),
  COFFERDAM_MAX_BODY_BYTES: setting(
    String(8 * MIB),
    integer(1024, 64 * MIB),
    'Largest request body, in bytes.',
  ),
  COFFERDAM_ENGINE: setting(
    'unix:///var/run/docker.sock',
    z.string().regex(/^(unix:\/\/\/.+|tcp:\/\/[^/]+)$/, 'expected unix:///path or tcp://host:port'),
    'Where the Docker Engine of the worker listens.',
  ),
  ...RUNTIME_SETTINGS,
  ...POOL_SETTINGS,
  COFFERDAM_DRAIN_MS: setting(
    '30000',
    integer(0, 600_000),
    'What running jobs are given to end when the process is told to stop.',
  ),
  COFFERDAM_STOP_NOTICE_MS: setting(
    '0',
    integer(0, 120_000),
    'How long the API still answers, with /readyz at 503, once it is told to stop: what a load balancer takes to notice.',
  ),
  COFFERDAM_STREAM_BYTES: setting(
    String(256 * MIB),
    integer(MIB, 1024 * 1024 * MIB),
    'Bytes of one output stream, kept or not, past which a job ends with output_limit.',
  ),
  ...LOAD_SETTINGS,
  ...BLOB_SETTINGS,
  ...TRUST_SETTINGS,
} as const satisfies Record<string, Setting>;

/** The default and the ceiling of a limit are two settings. */
type LimitSettings = Record<`COFFERDAM_${'DEFAULT' | 'MAX'}_${string}`, Setting>;

export const LIMIT_SETTINGS: LimitSettings = Object.fromEntries(
  Object.entries<Limit>(LIMITS).flatMap(([name, limit]) => {
    const number = limit.fractional
      ? decimal(limit.least, limit.most)
      : integer(limit.least, limit.most);
    const rows: [string, Setting][] = [
      [
        limitVariable('MAX', name as LimitName),
        setting(String(limit.ceiling), number, `Ceiling of ${name}: ${limit.meaning}`),
      ],
    ];
    if (limit.fallback !== undefined) {
      rows.unshift([
        limitVariable('DEFAULT', name as LimitName),
        setting(String(limit.fallback), number, `Default of ${name}: ${limit.meaning}`),
      ]);
    }
    return rows;
  }),
);

type Parsed = { [Name in keyof typeof SETTINGS]: z.output<(typeof SETTINGS)[Name]['schema']> };

export interface Settings {
  readonly host: string;
  readonly port: number;
  readonly dataDir: string;
  readonly devKey: string | undefined;
  readonly redisUrl: string | undefined;
  readonly logLevel: Parsed['COFFERDAM_LOG_LEVEL'];
  readonly imagesFile: string | undefined;
  readonly defaultImage: string;
  readonly maxBodyBytes: number;
  readonly tenantsFile: string | undefined;
  readonly reservedSlots: number;
  readonly maxOpenJobs: number;
  readonly maxTenantOpenJobs: number;
  readonly maxTenantRequests: number;
  readonly maxRedisBytes: number;
  readonly maxQueueAgeMs: number;
  readonly engine: string;
  readonly runtimes: RuntimeSettings;
  readonly slots: number;
  readonly poolReady: number;
  readonly poolMaxReady: number | undefined;
  readonly poolMaxAgeMs: number;
  readonly drainMs: number;
  readonly stopNoticeMs: number;
  readonly streamBytes: number;
  readonly blobs: BlobSettings;
  readonly trust: TrustSettings;
  readonly limits: Readonly<Record<LimitName, { default: number | undefined; ceiling: number }>>;
}

/** All faults of an environment at once, a line each. */
export class SettingsError extends Error {
  constructor(faults: readonly string[]) {
    super(`The settings are not usable:\n${faults.map((fault) => `  ${fault}`).join('\n')}`);
    this.name = 'SettingsError';
  }
}

const PREFIX = 'COFFERDAM_';
/** Never shown: a key, and an address that may hold a password. */
const SECRET = [
  'COFFERDAM_DEV_KEY',
  'COFFERDAM_REDIS_URL',
  'COFFERDAM_SIGNING_KEYS',
  'COFFERDAM_WEBHOOK_SECRET',
];
/** Read by the command line alone (services/cli): where the server is. */
const CLIENT_VARIABLES = ['COFFERDAM_URL'];

/** Settings from an environment, or a SettingsError that lists everything wrong with it. */
export function parseSettings(env: Readonly<Record<string, string | undefined>>): Settings {
  const rows: Record<string, Setting> = { ...SETTINGS, ...LIMIT_SETTINGS };
  const faults: string[] = [];
  const values: Record<string, unknown> = {};

  for (const name of Object.keys(env)) {
    if (name.startsWith(PREFIX) && !(name in rows) && !CLIENT_VARIABLES.includes(name)) {
      faults.push(`${name}: there is no such setting`);
    }
  }
  for (const [name, row] of Object.entries(rows)) {
    const given = env[name];
    const parsed = row.schema.safeParse(given === undefined || given === '' ? row.fallback : given);
    if (parsed.success) values[name] = parsed.data;
    else {
      const came = SECRET.includes(name) ? `${given?.length} characters` : `"${given}"`;
      faults.push(`${name}: ${parsed.error.issues[0]?.message}; came ${came}`);
    }
  }
  const limits = Object.fromEntries(
    (Object.keys(LIMITS) as LimitName[]).map((name) => {
      const fallback = values[limitVariable('DEFAULT', name)] as number | undefined;
      const ceiling = values[limitVariable('MAX', name)] as number;
      if (fallback !== undefined && fallback > ceiling) {
        faults.push(
          `${limitVariable('DEFAULT', name)}: expected at most ${limitVariable('MAX', name)} (${ceiling}); came ${fallback}`,
        );
      }
      return [name, { default: fallback, ceiling }];
    }),
  ) as Settings['limits'];
  const is = values as Parsed;
  faults.push(...faultsOfPool(is), ...faultsOfRuntimes(is));
  if (faults.length > 0) throw new SettingsError(faults);
  return settingsOf(is, limits);
}

const settingsOf = (is: Parsed, limits: Settings['limits']): Settings =>
  Object.freeze({
    host: is.COFFERDAM_HOST,
    port: is.COFFERDAM_PORT,
    dataDir: is.COFFERDAM_DATA_DIR,
    devKey: is.COFFERDAM_DEV_KEY,
    redisUrl: is.COFFERDAM_REDIS_URL,
    logLevel: is.COFFERDAM_LOG_LEVEL,
    imagesFile: is.COFFERDAM_IMAGES,
    defaultImage: is.COFFERDAM_DEFAULT_IMAGE,
    maxBodyBytes: is.COFFERDAM_MAX_BODY_BYTES,
    tenantsFile: is.COFFERDAM_TENANTS,
    reservedSlots: is.COFFERDAM_RESERVED_SLOTS,
    maxOpenJobs: is.COFFERDAM_MAX_OPEN_JOBS,
    maxTenantOpenJobs: is.COFFERDAM_MAX_TENANT_OPEN_JOBS,
    maxTenantRequests: is.COFFERDAM_MAX_TENANT_REQUESTS,
    maxRedisBytes: is.COFFERDAM_MAX_REDIS_BYTES,
    maxQueueAgeMs: is.COFFERDAM_MAX_QUEUE_AGE_MS,
    engine: is.COFFERDAM_ENGINE,
    runtimes: Object.freeze(runtimeSettings(is)),
    slots: is.COFFERDAM_SLOTS,
    poolReady: leastReady(is),
    poolMaxReady: is.COFFERDAM_POOL_MAX_READY,
    poolMaxAgeMs: is.COFFERDAM_POOL_MAX_AGE_MS,
    drainMs: is.COFFERDAM_DRAIN_MS,
    stopNoticeMs: is.COFFERDAM_STOP_NOTICE_MS,
    streamBytes: is.COFFERDAM_STREAM_BYTES,
    blobs: Object.freeze(blobSettings(is)),
    trust: Object.freeze(trustSettings(is)),
    limits: Object.freeze(limits),
  });
