/**
 * Who may speak to /mcp from a browser: a web page that was made to resolve to this machine (DNS rebinding) sends its own
 * name as Host, any page sends its Origin. Addresses are let through as Host where the server listens on all of them,
 * since only a name can be rebound.
 */
import net from 'node:net';
import { AppError } from '../../../shared/errors.ts';
import { isLoopback } from '../config.ts';

export interface Guard {
  /** Throws the refusal of a Host or Origin that is not known. */
  require(headers: { host?: string | undefined; origin?: string | undefined }): void;
  isAllowedOrigin(origin: string): boolean;
}

export interface GuardOptions {
  /** What the server listens on. */
  readonly listensOn: string;
  readonly allowedHosts: readonly string[];
  readonly allowedOrigins: readonly string[];
  readonly publicUrl: string | undefined;
}

const EVERYWHERE = ['0.0.0.0', '::'];

export function createGuard(options: GuardOptions): Guard {
  const { listensOn, publicUrl } = options;
  const hosts = new Set(
    [...options.allowedHosts, ...(publicUrl === undefined ? [] : [new URL(publicUrl).host])].map(
      (one) => one.toLowerCase(),
    ),
  );
  const origins = new Set(options.allowedOrigins.map((one) => one.toLowerCase()));
  const isAllowedHost = (host: string): boolean => {
    const name = hostnameOf(host);
    if (name === undefined) return false;
    if (isLoopback(name) || name === listensOn.toLowerCase()) return true;
    if (EVERYWHERE.includes(listensOn) && net.isIP(name) !== 0) return true;
    return hosts.has(name) || hosts.has(host.toLowerCase());
  };
  const isAllowedOrigin = (origin: string): boolean => origins.has(origin.toLowerCase());
  return {
    isAllowedOrigin,
    require({ host = '', origin }) {
      if (!isAllowedHost(host)) {
        throw refused('Host', host, 'COFFERDAM_ALLOWED_HOSTS');
      }
      if (origin !== undefined && !isAllowedOrigin(origin)) {
        throw refused('Origin', origin, 'COFFERDAM_ALLOWED_ORIGINS');
      }
    },
  };
}

/** Without the port and the brackets of IPv6; undefined where it is no host. */
function hostnameOf(host: string): string | undefined {
  if (!/^[\w.:[\]-]+$/.test(host)) return undefined;
  try {
    return new URL(`http://${host}`).hostname.replace(/^\[|\]$/g, '');
  } catch {
    return undefined;
  }
}

const SHOWN_LENGTH = 100;

const refused = (header: string, came: string, setting: string): AppError =>
  new AppError('ORIGIN_REFUSED', {
    field: header,
    detail: `${header}: expected one that this server answers to (${setting}); came ${JSON.stringify(came.slice(0, SHOWN_LENGTH))}`,
  });
