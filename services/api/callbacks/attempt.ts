/** One attempt to deliver: from the URL to the verdict on what came back. */
import { DEFAULT_TENANT } from '../../../shared/config/tenants.ts';
import { AppError } from '../../../shared/errors.ts';
import type { Delivery } from '../../../shared/queue/callbacks.ts';
import type { AllowList } from './address.ts';
import { post } from './post.ts';
import { pinAddress, type Resolve, TargetRefused } from './resolver.ts';
import type { Signer } from './signer.ts';
import { parseTarget } from './target.ts';

const GONE = 410;

export type Attempt =
  | { readonly kind: 'sent' }
  /** `isFinal`: no later attempt will do better. */
  | { readonly kind: 'failed'; readonly isFinal: boolean; readonly reason: string };

export interface AttemptParts {
  readonly allow: AllowList;
  readonly signer: Signer;
  readonly resolve: Resolve;
}

/** Never rejects: whatever goes wrong on the way to a receiver is a failed attempt. */
export async function attemptDelivery(
  delivery: Delivery,
  { body, signal, ...parts }: AttemptParts & { body: string; signal: AbortSignal },
): Promise<Attempt> {
  try {
    return verdictOn(await send(delivery, body, parts, signal));
  } catch (error) {
    const isFinal = error instanceof TargetRefused || error instanceof AppError;
    return { kind: 'failed', isFinal, reason: reasonOf(signal.aborted ? signal.reason : error) };
  }
}

async function send(
  { id, url: text, tenant, attempt, data, includeOutput }: Delivery,
  body: string,
  { allow, signer, resolve }: AttemptParts,
  signal: AbortSignal,
): Promise<number> {
  // Once more: the operator's list may be another than at acceptance.
  const { url: href } = parseTarget({ url: text, includeOutput }, allow);
  const url = new URL(href);
  const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80));
  const to = { host: url.hostname, port, attempt };
  const address = await pinAddress(to, { resolve, allow, signal });
  signal.throwIfAborted();
  // Notices go to the operator's receivers.
  const signed = signer.headersFor({ id, tenant: data === null ? tenant : DEFAULT_TENANT, body });
  const headers = { ...signed, 'Content-Type': 'application/json', 'User-Agent': 'cofferdam' };
  return post({ url, address, headers, body, signal });
}

function verdictOn(status: number): Attempt {
  if (status >= 200 && status < 300) return { kind: 'sent' };
  const isRedirect = status >= 300 && status < 400;
  const reason = isRedirect
    ? `the receiver answered ${status}; redirects are not followed`
    : `the receiver answered ${status}`;
  return { kind: 'failed', isFinal: status === GONE, reason };
}

/** A code where the system has one: its messages name addresses. */
function reasonOf(error: unknown): string {
  if (error instanceof TargetRefused || error instanceof AppError) return error.message;
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? message ?? 'failed';
}
