/**
 * Signatures of Standard Webhooks. The operator's secret signs for the server's own tenant and for notices; every other
 * tenant has a secret of its own, derived from it: who can verify can also sign, and must not sign for another's
 * receiver.
 */
import { createHmac } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { DEFAULT_TENANT } from '../../../shared/config/tenants.ts';

const PREFIX = 'whsec_';

export interface Signer {
  /** The headers of one attempt. */
  headersFor(message: { id: string; tenant: string; body: string }): Record<string, string>;
  /** What a tenant verifies with. */
  secretOf(tenant: string): string;
}

/** Throws an Error where a secret that says it is one of Standard Webhooks is none. */
export function createSigner(secret: string): Signer {
  const own = webhookOf(secret);
  const secretOf = (tenant: string): string => {
    if (tenant === DEFAULT_TENANT) return secret;
    return PREFIX + createHmac('sha256', secret).update(`callback ${tenant}`).digest('base64');
  };
  return {
    secretOf,
    headersFor({ id, tenant, body }) {
      const now = new Date();
      const webhook = tenant === DEFAULT_TENANT ? own : webhookOf(secretOf(tenant));
      return {
        'webhook-id': id,
        'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
        'webhook-signature': webhook.sign(id, now, body),
      };
    },
  };
}

function webhookOf(secret: string): Webhook {
  if (!secret.startsWith(PREFIX)) return new Webhook(secret, { format: 'raw' });
  try {
    return new Webhook(secret);
  } catch (cause) {
    throw new Error(`COFFERDAM_WEBHOOK_SECRET: expected base64 behind ${PREFIX}; came other text`, {
      cause,
    });
  }
}
