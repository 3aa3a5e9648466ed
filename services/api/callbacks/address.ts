/**
 * Which addresses are on the public internet, and which others the operator allows. Everything that is not plainly
 * public is refused: also the forms in which an IPv6 address carries an IPv4 one (mapped, compatible, NAT64, 6to4,
 * Teredo), whatever they carry, since nobody's receiver has only such an address.
 */
import ipaddr from 'ipaddr.js';

/** What the internet's registries give out of IPv6 (RFC 4291). */
const GLOBAL_UNICAST = ipaddr.IPv6.parseCIDR('2000::/3');
/** Documentation (RFC 9637), which the library does not know. */
const DOCUMENTATION = ipaddr.IPv6.parseCIDR('3fff::/20');

/** `address` in the form that a resolver or a parsed URL has it, without brackets. */
export function isPublicAddress(address: string): boolean {
  if (ipaddr.IPv4.isValidFourPartDecimal(address)) {
    return ipaddr.IPv4.parse(address).range() === 'unicast';
  }
  // A zone names an interface of this host.
  if (address.includes('%') || !ipaddr.IPv6.isValid(address)) return false;
  const parsed = ipaddr.IPv6.parse(address);
  return (
    parsed.range() === 'unicast' && parsed.match(GLOBAL_UNICAST) && !parsed.match(DOCUMENTATION)
  );
}

/** What speaks no HTTP, or is never meant for strangers: a listed host or range does not open these. */
export const BLOCKED_PORTS: ReadonlySet<number> = new Set([
  ...[0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101],
  ...[102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389],
  ...[427, 445, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601],
  ...[623, 636, 853, 873, 989, 990, 993, 995, 1099, 1433, 1521, 1719, 1720, 1723, 2049, 2181, 2375],
  ...[2376, 2379, 2380, 3306, 3389, 3659, 4045, 4190, 4369, 5060, 5061, 5432, 5671, 5672, 5900],
  ...[5984, 6000, 6379, 6380, 6443, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 9042, 9092],
  ...[9200, 9300, 10080, 10250, 10255, 11211, 16379, 26379, 27017, 27018, 27019],
]);

/** The operator's list: targets that callbacks may go to though they are not on the public internet. */
export interface AllowList {
  /** Whether the target is on it by name or literal address; `host` as in a parsed URL. */
  hasTarget(host: string, port: number): boolean;
  /** Whether a range of it holds the address. */
  hasAddress(address: string): boolean;
}

const ENTRY = /^(\[[0-9a-f:.]+\]|[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?::([1-9]\d{0,4}))?$/;

/** Throws an Error that names the entry that cannot be one. */
export function parseAllowList(entries: readonly string[]): AllowList {
  const ports = new Map<string, Set<number | 'any'>>();
  const ranges: [ipaddr.IPv4 | ipaddr.IPv6, number][] = [];
  for (const entry of entries) {
    const text = entry.toLowerCase();
    if (ipaddr.isValidCIDR(text)) {
      ranges.push(ipaddr.parseCIDR(text));
      continue;
    }
    const [, host, port] = (ipaddr.IPv6.isValid(text) ? `[${text}]` : text).match(ENTRY) ?? [];
    const name = host === undefined ? undefined : canonicalHost(host);
    if (name === undefined || Number(port ?? 1) > 65_535) {
      throw new Error(
        `COFFERDAM_CALLBACK_ALLOW: expected hosts, host:port or CIDR ranges such as hooks.internal, 10.1.2.3:8080, 10.0.0.0/8; came ${entry}`,
      );
    }
    const known = ports.get(name) ?? new Set();
    ports.set(name, known.add(port === undefined ? 'any' : Number(port)));
  }
  const hasAddress = (address: string): boolean => {
    if (address.includes('%') || !ipaddr.isValid(address)) return false;
    const parsed = ipaddr.parse(address);
    return ranges.some(
      ([base, bits]) => base.kind() === parsed.kind() && parsed.match([base, bits] as never),
    );
  };
  return {
    hasAddress,
    hasTarget(host, port) {
      const listed = ports.get(host);
      if (listed?.has(port)) return true;
      return !BLOCKED_PORTS.has(port) && (listed?.has('any') || hasAddress(withoutBrackets(host)));
    },
  };
}

/** As a URL has it, where it says the same; undefined where a URL would read another host. */
function canonicalHost(host: string): string | undefined {
  if (!URL.canParse(`http://${host}/`)) return undefined;
  const { hostname } = new URL(`http://${host}/`);
  return hostname === host || host.startsWith('[') ? hostname : undefined;
}

/** The address in the host of a URL; a name stays as it is. */
export const withoutBrackets = (host: string): string => host.replace(/^\[(.*)\]$/, '$1');
