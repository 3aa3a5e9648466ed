import { describe, expect, it } from 'vitest';
import {
  BLOCKED_PORTS,
  isPublicAddress,
  parseAllowList,
} from '../../../services/api/callbacks/address.ts';

describe('an address', () => {
  it.each([
    '8.8.8.8',
    '1.1.1.1',
    '93.184.216.34',
    '172.15.255.255',
    '172.32.0.1',
    '100.63.255.255',
    '100.128.0.1',
    '2606:4700:4700::1111',
    '2001:4860:4860::8888',
  ])('%s is public', (address) => {
    expect(isPublicAddress(address)).toBe(true);
  });

  it.each([
    ['0.0.0.0', 'this host'],
    ['0.1.2.3', 'this network'],
    ['10.0.0.1', 'private'],
    ['172.16.0.1', 'private'],
    ['172.31.255.255', 'private'],
    ['192.168.1.1', 'private'],
    ['127.0.0.1', 'loopback'],
    ['127.255.255.254', 'loopback'],
    ['169.254.169.254', 'link-local: metadata'],
    ['100.64.0.1', 'carrier-grade NAT'],
    ['100.127.255.255', 'carrier-grade NAT'],
    ['192.0.0.1', 'protocol assignments'],
    ['192.0.2.1', 'documentation'],
    ['198.51.100.1', 'documentation'],
    ['203.0.113.1', 'documentation'],
    ['198.18.0.1', 'benchmarks'],
    ['192.88.99.1', 'relays of 6to4'],
    ['224.0.0.1', 'multicast'],
    ['239.255.255.255', 'multicast'],
    ['240.0.0.1', 'reserved'],
    ['255.255.255.255', 'broadcast'],
    ['::', 'this host'],
    ['::1', 'loopback'],
    ['::127.0.0.1', 'IPv4-compatible'],
    ['::8.8.8.8', 'IPv4-compatible'],
    ['::ffff:127.0.0.1', 'IPv4-mapped'],
    ['::ffff:7f00:1', 'IPv4-mapped'],
    ['::ffff:8.8.8.8', 'IPv4-mapped'],
    ['::ffff:0:127.0.0.1', 'IPv4-translated'],
    ['64:ff9b::7f00:1', 'NAT64'],
    ['64:ff9b::a00:1', 'NAT64'],
    ['64:ff9b:1::1', 'local NAT64'],
    ['2002:7f00:1::', '6to4'],
    ['2002:a00:1::1', '6to4'],
    ['2001::1', 'Teredo'],
    ['2001:db8::1', 'documentation'],
    ['3fff::1', 'documentation'],
    ['2001:2::1', 'benchmarks'],
    ['100::1', 'discard'],
    ['fc00::1', 'unique local'],
    ['fd00::1', 'unique local'],
    ['fe80::1', 'link-local'],
    ['fe80::1%eth0', 'link-local with a zone'],
    ['2606:4700:4700::1111%eth0', 'with a zone'],
    ['fec0::1', 'site-local'],
    ['ff02::1', 'multicast'],
    ['4000::1', 'not given out'],
    ['127.1', 'a short form'],
    ['0x7f.0.0.1', 'hexadecimal'],
    ['0177.0.0.1', 'octal'],
    ['2130706433', 'decimal'],
    ['example.com', 'a name'],
    ['', 'nothing'],
  ])('H24 %s is not public (%s)', (address) => {
    expect(isPublicAddress(address)).toBe(false);
  });
});

describe('the allow-list', () => {
  const allow = parseAllowList([
    'hooks.internal',
    'queue.internal:8080',
    'redis.internal:6379',
    '10.1.2.3',
    '[::1]:9000',
    'fd00::5',
    '10.2.0.0/16',
    'fd01::/64',
  ]);

  it.each([
    ['hooks.internal', 443],
    ['hooks.internal', 80],
    ['hooks.internal', 8443],
    ['queue.internal', 8080],
    ['redis.internal', 6379],
    ['10.1.2.3', 80],
    ['10.2.200.1', 3000],
    ['[::1]', 9000],
    ['[fd00::5]', 443],
    ['[fd01::1]', 443],
  ])('has %s on port %i', (host, port) => {
    expect(allow.hasTarget(host, port)).toBe(true);
  });

  it.each([
    ['other.internal', 443],
    ['a.hooks.internal', 443],
    ['queue.internal', 443],
    ['redis.internal', 443],
    ['hooks.internal', 6379],
    ['10.1.2.3', 22],
    ['10.2.200.1', 2375],
    ['10.3.0.1', 443],
    ['[::1]', 443],
    ['[fd02::1]', 443],
  ])('has not %s on port %i', (host, port) => {
    expect(allow.hasTarget(host, port)).toBe(false);
  });

  it('holds the addresses of its ranges, also such as names lead to', () => {
    expect(allow.hasAddress('10.2.0.1')).toBe(true);
    expect(allow.hasAddress('fd01::7')).toBe(true);
    expect(allow.hasAddress('10.3.0.1')).toBe(false);
    expect(allow.hasAddress('::ffff:10.2.0.1')).toBe(false);
  });

  it('opens no port of a host that speaks another protocol, unless it is named with it', () => {
    for (const port of BLOCKED_PORTS) {
      expect(allow.hasTarget('hooks.internal', port)).toBe(false);
      expect(allow.hasTarget('10.2.0.1', port)).toBe(false);
    }
    const named = [22, 23, 25, 53, 111, 445, 587, 2375, 2376, 2379, 3306, 5432, 6379, 10250, 11211];
    expect(named.filter((port) => !BLOCKED_PORTS.has(port))).toEqual([]);
    expect([80, 443, 3000, 8080, 8443].filter((port) => BLOCKED_PORTS.has(port))).toEqual([]);
  });

  it.each([
    'https://hooks.internal',
    'hooks.internal/path',
    'hooks.internal:0',
    'hooks.internal:65536',
    '10.0.0.0/33',
    '*.internal',
    '0x7f.1',
    'user@host',
    '-',
  ])('refuses to start with the entry %s, and names it', (entry) => {
    expect(() => parseAllowList(['ok.internal', entry])).toThrow(entry);
  });
});
