/** What every part of an API process is given. */
import type { Settings } from '../../shared/config/settings.ts';
import type { Lifecycle } from '../../shared/lifecycle.ts';
import type { Log } from '../../shared/log.ts';
import type { Metrics } from '../../shared/metrics.ts';
import type { RedisAddress } from '../../shared/queue/connection.ts';

export interface ApiParts {
  readonly settings: Settings;
  /** The server's own. */
  readonly key: string;
  readonly redis: RedisAddress;
  readonly lifecycle: Lifecycle;
  readonly metrics: Metrics;
  readonly log: Log;
}
