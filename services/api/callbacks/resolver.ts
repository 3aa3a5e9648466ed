/**
 * A target's name → the one address that is connected to. The name is asked for once for each attempt, every address of
 * the answer has to be allowed, and the connection goes to one of those: a name that answers otherwise a moment later
 * changes nothing.
 */
import { Resolver } from 'node:dns/promises';
import ipaddr from 'ipaddr.js';
import { type AllowList, isPublicAddress, withoutBrackets } from './address.ts';

/** Of one question to one name server. */
const ANSWER_WITHIN_MS = 2_000;

/** All addresses of a name; an empty list where it has none. */
export type Resolve = (name: string, signal: AbortSignal) => Promise<string[]>;

/** The target is not one that this server sends to: no later attempt will do better. */
export class TargetRefused extends Error {
  override readonly name = 'TargetRefused';
}

/**
 * Asks the name servers of the host, not its hosts file: the system's own call cannot be given up, and holds one of few
 * threads of this process for as long as a name server does not answer.
 */
export const askNameServers: Resolve = async (name, signal) => {
  signal.throwIfAborted();
  if (name === 'localhost') return ['127.0.0.1'];
  const resolver = new Resolver({ timeout: ANSWER_WITHIN_MS, tries: 1 });
  const cancel = (): void => resolver.cancel();
  signal.addEventListener('abort', cancel, { once: true });
  try {
    const none = (error: NodeJS.ErrnoException): string[] => {
      if (error.code === 'ENODATA' || error.code === 'ENOTFOUND') return [];
      throw error;
    };
    const answers = await Promise.allSettled([
      resolver.resolve4(name).catch(none),
      resolver.resolve6(name).catch(none),
    ]);
    const found = answers.flatMap((one) => (one.status === 'fulfilled' ? one.value : []));
    const failed = answers.find((one) => one.status === 'rejected');
    if (found.length === 0 && failed !== undefined) throw failed.reason;
    return found;
  } finally {
    signal.removeEventListener('abort', cancel);
  }
};

/** One checked address of the target; the next attempt takes the next. Throws TargetRefused where one is not allowed. */
export async function pinAddress(
  { host, port, attempt }: { host: string; port: number; attempt: number },
  { resolve, allow, signal }: { resolve: Resolve; allow: AllowList; signal: AbortSignal },
): Promise<string> {
  const literal = withoutBrackets(host);
  const addresses = ipaddr.isValid(literal) ? [literal] : await resolve(host, signal);
  if (addresses.length === 0) throw new Error('the name has no address');
  // By name or by literal: what it leads to is the operator's word.
  const isListed = allow.hasTarget(host, port);
  const isAllowed = (one: string): boolean =>
    isListed || isPublicAddress(one) || allow.hasAddress(one);
  if (!addresses.every(isAllowed)) {
    // Which address it is would tell a stranger how this network is laid out.
    throw new TargetRefused('refused: the name leads to an address off the public internet');
  }
  return addresses[(attempt - 1) % addresses.length] as string;
}
