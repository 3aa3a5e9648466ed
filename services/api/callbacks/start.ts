/** Callbacks and notices as one part of the API: on where there is a secret to sign with, else refused when asked for. */
import type { Redis } from 'ioredis';
import type { TrustSettings } from '../../../shared/config/trust-settings.ts';
import type { Lifecycle } from '../../../shared/lifecycle.ts';
import type { Log } from '../../../shared/log.ts';
import type { Metrics } from '../../../shared/metrics.ts';
import { parseAllowList } from './address.ts';
import { createDeliveries } from './delivery.ts';
import { createCallbackMetrics } from './metrics.ts';
import { createNotices, type Notices } from './notices.ts';
import { askNameServers } from './resolver.ts';
import { createSigner, type Signer } from './signer.ts';
import { type AcceptCallback, createAcceptCallback } from './target.ts';

export interface Callbacks {
  /** What a request asks for → the field `callback` of its record. */
  readonly accept: AcceptCallback;
  readonly notices: Notices;
  /** Undefined where callbacks are off. */
  readonly signer: Signer | undefined;
}

/** Throws an Error where a setting cannot be meant. */
export function startCallbacks(
  parts: { trust: TrustSettings; lifecycle: Lifecycle; metrics: Metrics; log: Log },
  redis: Redis,
): Callbacks {
  const { webhookSecret: secret, callbackAllow, publicUrl } = parts.trust;
  const allow = parseAllowList(callbackAllow);
  const signer = secret === undefined ? undefined : createSigner(secret);
  const metrics = createCallbackMetrics(parts.metrics, redis);
  if (signer !== undefined) {
    const how = { allow, signer, resolve: askNameServers };
    const deliveries = createDeliveries({ ...how, redis, publicUrl, metrics, log: parts.log });
    deliveries.start();
    parts.lifecycle.own('callbacks', deliveries, () => deliveries.stop());
  }
  return {
    accept: createAcceptCallback({ secret, allow }),
    notices: createNotices({ redis, secret, allow }),
    signer,
  };
}
