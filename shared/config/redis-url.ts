/**
 * Where Redis is, as an operator writes it: one server, one found through Sentinels, or a Cluster.
 *   redis://[user:password@]host[:port][/db]
 *   redis+sentinel://[user:password@]host[:port][,host[:port]…]/name[/db][?sentinel_username=…&sentinel_password=…]
 *   redis+cluster://[user:password@]host[:port][,host[:port]…]
 * Each with `rediss` for TLS, to the Sentinels as well.
 */

export interface RedisNode {
  readonly host: string;
  readonly port: number;
}

interface Credentials {
  readonly username?: string;
  readonly password?: string;
}

export type RedisPlace = { readonly isTls: boolean; readonly credentials: Credentials } & (
  | { readonly kind: 'single'; readonly node: RedisNode; readonly db: number }
  | {
      readonly kind: 'sentinel';
      readonly sentinels: readonly RedisNode[];
      /** What the Sentinels call the primary. */
      readonly name: string;
      readonly db: number;
      readonly sentinelCredentials: Credentials;
    }
  | { readonly kind: 'cluster'; readonly nodes: readonly RedisNode[] }
);

const FORM =
  /^(rediss?)(\+sentinel|\+cluster)?:\/\/(?:([^@/?#]*)@)?([^@/?#]+)([^?#]*)(?:\?(.+))?$/i;
const NODE = /^(\[[\da-f:.]+\]|[^\s:,[\]]+)(?::(\d{1,5}))?$/i;
const DEFAULT_PORT = 6379;
const DEFAULT_SENTINEL_PORT = 26_379;
const MAX_PORT = 65_535;

const EXPECTED =
  'expected redis://host:port, redis+sentinel://host:port,host:port/name or redis+cluster://host:port,host:port; with TLS rediss…';

/** Throws an Error that says what was expected, and never shows what came: it may hold a password. */
export function parseRedisUrl(text: string): RedisPlace {
  const [, scheme = '', form = '', login, hosts = '', path = '', query] = text.match(FORM) ?? [];
  if (scheme === '') throw new Error(EXPECTED);
  const common = { isTls: scheme.toLowerCase() === 'rediss', credentials: credentialsOf(login) };
  const parts = path.split('/').slice(1);
  if (form !== '+sentinel' && query !== undefined) throw new Error('expected no parameters');
  switch (form.toLowerCase()) {
    case '+sentinel': {
      const [name = '', db, ...rest] = parts;
      if (name === '' || rest.length > 0) {
        throw new Error('expected the name of the primary behind the hosts, as in …:26379/name');
      }
      return {
        ...common,
        kind: 'sentinel',
        sentinels: nodesOf(hosts, DEFAULT_SENTINEL_PORT),
        name: decoded(name),
        db: dbOf(db),
        sentinelCredentials: sentinelCredentialsOf(query),
      };
    }
    case '+cluster':
      if (parts.join('') !== '') throw new Error('expected no database: a Cluster has only one');
      return { ...common, kind: 'cluster', nodes: nodesOf(hosts, DEFAULT_PORT) };
    default: {
      const [node, ...others] = nodesOf(hosts, DEFAULT_PORT);
      if (node === undefined || others.length > 0 || parts.length > 1) throw new Error(EXPECTED);
      return { ...common, kind: 'single', node, db: dbOf(parts[0]) };
    }
  }
}

const nodesOf = (hosts: string, defaultPort: number): RedisNode[] =>
  hosts.split(',').map((text) => {
    const [, host = '', port = String(defaultPort)] = text.match(NODE) ?? [];
    const isUsable = host !== '' && Number(port) >= 1 && Number(port) <= MAX_PORT;
    if (!isUsable) throw new Error('expected hosts as host or host:port, with commas between');
    return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) };
  });

function dbOf(text = ''): number {
  if (!/^\d{0,5}$/.test(text))
    throw new Error('expected the number of a database behind the last /');
  return Number(text);
}

function credentialsOf(login = ''): Credentials {
  const colon = login.indexOf(':');
  const username = decoded(colon < 0 ? login : login.slice(0, colon));
  const password = colon < 0 ? '' : decoded(login.slice(colon + 1));
  return {
    ...(username === '' ? {} : { username }),
    ...(password === '' ? {} : { password }),
  };
}

function sentinelCredentialsOf(query = ''): Credentials {
  const given = new URLSearchParams(query);
  for (const name of given.keys()) {
    if (name !== 'sentinel_username' && name !== 'sentinel_password') {
      throw new Error('expected no parameters but sentinel_username and sentinel_password');
    }
  }
  const [username, password] = [given.get('sentinel_username'), given.get('sentinel_password')];
  return {
    ...(username === null ? {} : { username }),
    ...(password === null ? {} : { password }),
  };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Error('expected %-escapes as in a URL');
  }
}
