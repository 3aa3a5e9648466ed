/**
 * The tenants in force: those of the file, which stand fixed, and those that administrators set over HTTP, which every
 * process follows by looking at Redis. While Redis does not answer, what was last seen stays in force.
 */
import type { Redis } from 'ioredis';
import { DEFAULT_TENANT, type Tenants } from '../../shared/config/tenants.ts';
import type { TenantSettings, TenantView } from '../../shared/contract/tenant.ts';
import { AppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { readTenantRecords, removeTenant, setTenant } from '../../shared/queue/tenant-records.ts';

/** With the time of one look, well under the second within which a change is to be in force. */
const LOOK_MS = 400;

/** What a tenant is due, and how many jobs it may have at once. */
export interface TenantShare {
  readonly weight: number;
  readonly maxOpenJobs: number;
  readonly maxRunningJobs: number | null;
}

export interface TenantShares {
  /** Of a tenant that there is. */
  get(name: string): TenantShare | undefined;
}

export interface TenantBounds extends TenantShare {
  /** Null: as much as the settings give to each. */
  readonly maxBlobBytes: number | null;
}

export interface LiveTenants extends TenantShares {
  get(name: string): TenantBounds | undefined;
  /** Whether it stands in the file, or is the server's own. */
  isFixed(name: string): boolean;
  /** Settles once everything that was set before the call is in force here. */
  refresh(): Promise<void>;
  list(): Promise<TenantView[]>;
  set(name: string, settings: TenantSettings): Promise<{ isNew: boolean; view: TenantView }>;
  /** Removes it and revokes its keys. */
  remove(name: string): Promise<void>;
  start(): Promise<void>;
  stop(): void;
}

export function createTenants(options: {
  redis: Redis;
  /** Those of the file. */
  fixed: Tenants;
  /** Of a tenant that has no bound of its own. */
  maxOpenJobs: number;
  log: Log;
}): LiveTenants {
  const { redis, fixed, log } = options;
  const fixedBounds = new Map<string, TenantBounds>(
    [...fixed].map(([name, { weight, maxOpenJobs, maxRunningJobs }]) => [
      name,
      { weight, maxOpenJobs, maxRunningJobs, maxBlobBytes: null },
    ]),
  );
  let revision: string | undefined;
  let settings: ReadonlyMap<string, TenantSettings> = new Map();
  let looking: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;

  const read = async (): Promise<void> => {
    const now = await readTenantRecords(redis, revision);
    if (now !== undefined) ({ revision, settings } = now);
  };
  const look = (): Promise<void> => {
    looking ??= read().finally(() => {
      looking = undefined;
    });
    return looking;
  };
  const refresh = async (): Promise<void> => {
    // The look that is under way may have begun too early.
    await looking?.catch(() => {});
    await look();
  };

  const boundsOf = (one: TenantSettings): TenantBounds => ({
    ...one,
    maxOpenJobs: one.maxOpenJobs ?? options.maxOpenJobs,
  });
  const requireChangeable = (name: string): void => {
    if (!fixed.has(name)) return;
    const where =
      name === DEFAULT_TENANT ? 'the tenant of the server’s own key' : 'in the file of tenants';
    throw new AppError('TENANT_FIXED', {
      field: 'name',
      detail: `name: expected a tenant that was set over HTTP; came ${name}, ${where}`,
    });
  };

  return {
    get(name) {
      const own = settings.get(name);
      return fixedBounds.get(name) ?? (own && boundsOf(own));
    },
    isFixed: (name) => fixed.has(name),
    refresh,
    async list() {
      await refresh();
      const views = [
        ...[...fixedBounds].map(([name, one]) => ({ name, ...one, isFixed: true })),
        // What the file names stands, whatever was set by that name before.
        ...[...settings]
          .filter(([name]) => !fixed.has(name))
          .map(([name, one]) => ({ name, ...one, isFixed: false })),
      ];
      return views.sort((one, other) => (one.name < other.name ? -1 : 1));
    },
    async set(name, wanted) {
      requireChangeable(name);
      const isNew = await setTenant(redis, name, wanted);
      await refresh();
      return { isNew, view: { name, ...wanted, isFixed: false } };
    },
    async remove(name) {
      requireChangeable(name);
      if (!(await removeTenant(redis, name))) throw new AppError('NOT_FOUND');
      await refresh();
    },
    async start() {
      await look();
      timer ??= setInterval(() => {
        look().catch((error: unknown) => log.debug({ err: error }, 'tenants could not be read'));
      }, LOOK_MS);
    },
    stop() {
      clearInterval(timer);
      timer = undefined;
    },
  };
}
