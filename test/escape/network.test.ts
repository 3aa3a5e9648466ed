/** The network namespace of a sandbox: its own loopback and nothing else. */
import { describe, expect, inject, test } from 'vitest';
import { attack, expectNothingLeft, otherThan } from './attack.ts';

/** A refusal comes from the sandbox's own routing table; nothing is waited for. */
const AT_ONCE_MS = 1000;

describe('outside', () => {
  test('I05 nothing outside is reached, and every attempt fails at once', async () => {
    const port = new URL(inject('server').url).port;
    const { verdicts, lines } = await attack('outside.py', { args: [port] });
    expect(lines.length).toBeGreaterThan(20);
    const reached = Object.entries(verdicts).filter(
      ([, verdict]) => !/^(ENETUNREACH|EHOSTUNREACH|ECONNREFUSED|UNRESOLVED) /.test(verdict),
    );
    expect(reached).toEqual([]);
    const slow = lines.filter((line) => Number(line.split(' ')[2]) >= AT_ONCE_MS);
    expect(slow).toEqual([]);
    expect(verdicts[`loopback-${port}`]).toMatch(/^ECONNREFUSED/);
  });
});

describe('inside', () => {
  test('I06 the only interface is a loopback that works for TCP on both families', async () => {
    const { verdicts } = await attack('loopback.py');
    expect(verdicts).toMatchObject({
      v4: 'hello',
      v6: 'hello',
      interfaces: "['lo']",
      dev: "['lo']",
      routes: '0',
      neighbours: '0',
    });
  });

  test('I06 the name localhost is the loopback', async () => {
    const { verdicts } = await attack('loopback.py');
    expect(verdicts.localhost).toBe('127.0.0.1');
  });

  test('E15 netlink makes no interface and no address', async () => {
    const { verdicts } = await attack('loopback.py');
    // EPERM, in gVisor EACCES.
    expect(verdicts['new-link']).toMatch(/^kind 2 errno (1|13)$/);
    expect(verdicts['new-address']).toMatch(/^kind 2 errno (1|13)$/);
  });
});

describe('sockets', () => {
  test('E12 of all families only unix, internet and route netlink have sockets', async () => {
    const { verdicts } = await attack('socket-families.c');
    const made = Object.keys(verdicts).filter((name) => name.startsWith('socket-'));
    const families = new Set(made.map((name) => Number(name.split('-')[1])));
    expect([...families].sort((a, b) => a - b)).toEqual([1, 2, 10, 16]);
  });

  test('E13 E15 AF_ALG, AF_VSOCK, packets, raw sockets and other netlink are denied', async () => {
    const { verdicts } = await attack('socket-families.c');
    const denied = Object.entries(verdicts).filter(([name]) =>
      /^(netlink|alg|vsock|raw|packet)/.test(name),
    );
    expect(denied).toHaveLength(40);
    expect(otherThan(Object.fromEntries(denied), 'EPERM')).toEqual([]);
  });

  test('E12 the internet families speak TCP and UDP and load no other protocol', async () => {
    const { verdicts } = await attack('socket-families.c');
    const { sctp, dccp, udplite, mptcp, l2tp, smc } = verdicts;
    expect({ sctp, dccp, udplite, mptcp, l2tp, smc }).toEqual({
      sctp: 'EPERM',
      dccp: 'EPERM',
      udplite: 'EPERM',
      mptcp: 'EPERM',
      l2tp: 'EPERM',
      smc: 'EPERM',
    });
  });

  test('E12 a pair of sockets is of the unix family', async () => {
    const { verdicts } = await attack('socket-pairs.c');
    expect(verdicts['pair-1']).toBe('OK');
    const { 'pair-1': _, ...others } = verdicts;
    expect(otherThan(others, 'EPERM')).toEqual([]);
  });
});

expectNothingLeft();
