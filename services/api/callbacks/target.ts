/**
 * Where a callback may go, as far as its URL tells. The URL has to be written as it will be read: every other spelling of
 * a host (decimal, octal, hexadecimal, short, percent-encoded, full-width) is refused, so that what was checked, what is
 * shown and what is connected to are one. Names are resolved only at delivery: see resolver.ts.
 */
import ipaddr from 'ipaddr.js';
import type { BatchCallback, JobCallback } from '../../../shared/contract/callback.ts';
import { AppError } from '../../../shared/errors.ts';
import { type CallbackAddress, callbackField } from '../../../shared/queue/due-callback.ts';
import { type AllowList, isPublicAddress, withoutBrackets } from './address.ts';

const HTTPS_PORT = 443;
const HTTP_PORT = 80;
const MAX_NAME_LENGTH = 253;

/** Scheme, authority and the rest, with nothing in it that a parser would take out or turn round. */
const PLAIN = /^(https?):\/\/([^/?#@\\\s]+)([/?][^#\\\s]*)?$/i;
const AUTHORITY = /^(.*?)(?::([1-9]\d{0,4}))?$/;
/** A name of the public internet: at least two labels, the last one not a number. */
const PUBLIC_NAME =
  /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
/** Names that mean this host or this network (RFC 6761, 6762, 8375, 9476, and common use). */
const INTERNAL_NAME =
  /(?:^|\.)(?:localhost|localdomain|local|internal|intranet|lan|home|corp|private|alt|onion|test|invalid|home\.arpa)$/;

const refused = (detail: string): AppError =>
  new AppError('CALLBACK_REFUSED', { field: 'callback', detail: `callback: ${detail}` });

/** Refuses with CALLBACK_REFUSED. */
export function parseTarget(asked: JobCallback | BatchCallback, allow: AllowList): CallbackAddress {
  const { url: text, includeOutput = true } =
    typeof asked === 'string'
      ? { url: asked }
      : (asked as { url: string; includeOutput?: boolean });
  const url = parseUrl(text);
  const host = url.hostname;
  const isHttps = url.protocol === 'https:';
  const port = url.port === '' ? (isHttps ? HTTPS_PORT : HTTP_PORT) : Number(url.port);
  if (!allow.hasTarget(host, port)) refuseInternal(host, port, isHttps);
  return { url: url.href, target: `${host}:${port}`, includeOutput };
}

function parseUrl(text: string): URL {
  const [, , authority] = text.match(PLAIN) ?? [];
  if (authority === undefined || !URL.canParse(text)) {
    throw refused(
      'expected an absolute https URL without user, password, fragment, spaces and backslashes; came another text',
    );
  }
  const url = new URL(text);
  const [, host = ''] = authority.match(AUTHORITY) ?? [];
  if (host.toLowerCase() !== url.hostname) {
    throw refused(`expected the host as it is read, ${url.hostname}; came ${host}`);
  }
  if (host.endsWith('.')) throw refused(`expected a host without a dot at its end; came ${host}`);
  if (host.length > MAX_NAME_LENGTH) throw refused('expected a host of at most 253 characters');
  return url;
}

function refuseInternal(host: string, port: number, isHttps: boolean): void {
  if (!isHttps) throw refused('expected https; came http, to a host that is not on the allow-list');
  if (port !== HTTPS_PORT) {
    throw refused(`expected port ${HTTPS_PORT}; came ${port}, which is not on the allow-list`);
  }
  const address = withoutBrackets(host);
  if (ipaddr.isValid(address)) {
    if (isPublicAddress(address)) return;
    throw refused(`expected an address on the public internet; came ${address}`);
  }
  if (!PUBLIC_NAME.test(host) || INTERNAL_NAME.test(host)) {
    throw refused(`expected a name on the public internet; came ${host}`);
  }
}

/** The field `callback` of a record for what a request asked; null without. Refuses with CALLBACK_REFUSED. */
export type AcceptCallback = (asked: JobCallback | BatchCallback | undefined) => string | null;

export const createAcceptCallback =
  (options: { secret: string | undefined; allow: AllowList }): AcceptCallback =>
  (asked) => {
    if (asked === undefined) return null;
    requireCallbacks(options.secret);
    return callbackField(parseTarget(asked, options.allow));
  };

/** The secret that everything is signed with; without one there are no callbacks. */
export function requireCallbacks(secret: string | undefined): string {
  if (secret !== undefined) return secret;
  throw new AppError('CALLBACK_REFUSED', {
    field: 'callback',
    detail: 'callback: callbacks are off on this server (COFFERDAM_WEBHOOK_SECRET is not set)',
  });
}
