import dgram from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import ipaddr from 'ipaddr.js';
import { describe, expect, it, vi } from 'vitest';
import { parseAllowList } from '../../../services/api/callbacks/address.ts';
import {
  askNameServers,
  pinAddress,
  TargetRefused,
} from '../../../services/api/callbacks/resolver.ts';

const signal = AbortSignal.timeout(10_000);

/** Where a name with these addresses is connected to. */
const pinned = (
  addresses: string[],
  over: { host?: string; attempt?: number; allow?: string[] } = {},
): Promise<string> => {
  const to = { host: over.host ?? 'hooks.example.com', port: 443, attempt: over.attempt ?? 1 };
  const allow = parseAllowList(over.allow ?? []);
  return pinAddress(to, { resolve: async () => addresses, allow, signal });
};

describe('the address of a target', () => {
  it('is one of those that its name has, another one at each attempt', async () => {
    const both = ['8.8.8.8', '2606:4700:4700::1111'];
    expect(await pinned(both)).toBe('8.8.8.8');
    expect(await pinned(both, { attempt: 2 })).toBe('2606:4700:4700::1111');
    expect(await pinned(both, { attempt: 3 })).toBe('8.8.8.8');
  });

  it.each([
    [['127.0.0.1']],
    [['10.0.0.1']],
    [['169.254.169.254']],
    [['::1']],
    [['fd00::1']],
    [['::ffff:8.8.8.8']],
    [['64:ff9b::7f00:1']],
    [['8.8.8.8', '10.0.0.1']],
    [['8.8.8.8', '::1']],
    [['not an address']],
  ])('is refused when its name leads to %j', async (addresses) => {
    await expect(pinned(addresses)).rejects.toThrow(TargetRefused);
  });

  it('is not told to whoever it is refused to', async () => {
    const error = await pinned(['10.11.12.13']).catch((reason: Error) => reason);
    expect(String(error)).not.toContain('10.11');
  });

  it('may be internal where the operator lists the name, or the range that it is in', async () => {
    expect(await pinned(['10.0.0.1'], { allow: ['hooks.example.com'] })).toBe('10.0.0.1');
    expect(await pinned(['10.0.0.1'], { allow: ['10.0.0.0/8'] })).toBe('10.0.0.1');
    await expect(pinned(['10.0.0.1'], { allow: ['hooks.example.com:8443'] })).rejects.toThrow();
    await expect(pinned(['10.0.0.1'], { allow: ['10.1.0.0/16'] })).rejects.toThrow();
  });

  it('is itself where it is literal: nobody is asked', async () => {
    expect(await pinned(['10.0.0.1'], { host: '8.8.8.8' })).toBe('8.8.8.8');
    expect(await pinned([], { host: '[2606:4700:4700::1111]' })).toBe('2606:4700:4700::1111');
    await expect(pinned(['8.8.8.8'], { host: '127.0.0.1' })).rejects.toThrow(TargetRefused);
  });

  it('is missing where the name has none, and that may be another time', async () => {
    const error = await pinned([]).catch((reason: Error) => reason);
    expect(error).not.toBeInstanceOf(TargetRefused);
    expect(String(error)).toContain('no address');
  });
});

const A = 1;
const NAME_ERROR = 3;

/** A name server that answers each question of a type with these addresses; null for no such name, 'silence' for none. */
async function withNameServer<T>(
  answers: { A: string[] | null | 'silence'; AAAA: string[] | null | 'silence' },
  use: () => Promise<T>,
): Promise<T> {
  const socket = dgram.createSocket('udp4');
  socket.on('message', (question, from) => {
    const type = question.readUInt16BE(question.indexOf(0, 12) + 1);
    const found = type === A ? answers.A : answers.AAAA;
    if (found !== 'silence') socket.send(answerTo(question, type, found), from.port, from.address);
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  // Of the two questions the first: servers are not changed while one is under way.
  const ask = Resolver.prototype.resolve4 as (name: string) => Promise<string[]>;
  vi.spyOn(Resolver.prototype, 'resolve4').mockImplementation(function (
    this: Resolver,
    name: string,
  ) {
    this.setServers([`127.0.0.1:${socket.address().port}`]);
    return ask.call(this, name) as never;
  });
  try {
    return await use();
  } finally {
    vi.restoreAllMocks();
    socket.close();
  }
}

function answerTo(question: Buffer, type: number, found: string[] | null): Buffer {
  const end = question.indexOf(0, 12) + 5;
  const head = Buffer.from(question.subarray(0, 12));
  head.writeUInt16BE(0x8180 | (found === null ? NAME_ERROR : 0), 2);
  head.writeUInt16BE(found?.length ?? 0, 6);
  head.writeUInt32BE(0, 8);
  const records = (found ?? []).map((address) => {
    const data =
      type === A
        ? Buffer.from(address.split('.').map(Number))
        : Buffer.from(ipaddr.IPv6.parse(address).toByteArray());
    // The name of the question, class IN, a minute.
    return Buffer.concat([
      Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 60, 0, data.length]),
      data,
    ]);
  });
  return Buffer.concat([head, question.subarray(12, end), ...records]);
}

describe('the name servers', () => {
  const ask = (over = signal) => askNameServers('hooks.example.com', over);

  it('are asked for all addresses of both families', async () => {
    const answers = { A: ['8.8.8.8', '10.0.0.1'], AAAA: ['2606:4700::1111'] };
    const found = await withNameServer(answers, ask);
    expect(found.sort()).toEqual(['10.0.0.1', '2606:4700::1111', '8.8.8.8']);
  });

  it('may know one family of a name, or no such name', async () => {
    expect(await withNameServer({ A: ['8.8.8.8'], AAAA: [] }, ask)).toEqual(['8.8.8.8']);
    expect(await withNameServer({ A: [], AAAA: ['::1'] }, ask)).toEqual(['::1']);
    expect(await withNameServer({ A: null, AAAA: null }, ask)).toEqual([]);
  });

  it('that do not answer are given up with whoever waits', async () => {
    const silent = { A: 'silence', AAAA: 'silence' } as const;
    const given = withNameServer(silent, () => ask(AbortSignal.timeout(50)));
    await expect(given).rejects.toMatchObject({ code: 'ECANCELLED' });
  });

  it('are not asked for this host', async () => {
    expect(await askNameServers('localhost', signal)).toEqual(['127.0.0.1']);
  });

  it('are not asked when nobody waits any more', async () => {
    await expect(ask(AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone');
  });
});
