import { describe, expect, it } from 'vitest';
import { parseAllowList } from '../../../services/api/callbacks/address.ts';
import { createAcceptCallback, parseTarget } from '../../../services/api/callbacks/target.ts';

const none = parseAllowList([]);
const SECRET = 's'.repeat(32);

const refusalOf = (url: string, allow = none): unknown => {
  try {
    return parseTarget(url, allow);
  } catch (error) {
    return error;
  }
};

describe('a target', () => {
  it.each([
    ['https://example.com', 'example.com:443'],
    ['https://example.com/', 'example.com:443'],
    ['https://EXAMPLE.com/Hook?token=a%20b', 'example.com:443'],
    ['https://hooks.example.co.uk:443/x', 'hooks.example.co.uk:443'],
    ['https://xn--bcher-kva.example/', 'xn--bcher-kva.example:443'],
    ['https://8.8.8.8/x', '8.8.8.8:443'],
    ['https://[2606:4700:4700::1111]/x', '[2606:4700:4700::1111]:443'],
  ])('may be %s', (url, target) => {
    expect(parseTarget(url, none)).toMatchObject({ target, includeOutput: true });
  });

  it.each([
    // Schemes and forms.
    'http://example.com/',
    'ftp://example.com/',
    'file:///etc/passwd',
    'gopher://example.com/',
    'redis://example.com/',
    'javascript:alert(1)',
    'data:text/plain,x',
    'https:example.com',
    'https:/example.com',
    'https:///example.com',
    '//example.com/',
    'example.com',
    '/v1/jobs',
    'https://',
    '',
    // What hides the host, or is lost on the way.
    'https://user@example.com/',
    'https://user:password@example.com/',
    'https://@example.com/',
    'https://example.com@10.0.0.1/',
    'https://example.com/#fragment',
    'https://example.com/#',
    'https://example.com\\@10.0.0.1/',
    'https:\\\\example.com/',
    ' https://example.com/',
    'https://example.com/ ',
    'https://exa\tmple.com/',
    'https://exa\nmple.com/',
    'https://example.com/a\r\nHost: x',
    // Ports.
    'https://example.com:22/',
    'https://example.com:25/',
    'https://example.com:80/',
    'https://example.com:2375/',
    'https://example.com:6379/',
    'https://example.com:8443/',
    'https://example.com:0/',
    'https://example.com:00443/',
    'https://example.com:65536/',
    'https://example.com:/',
    // Names of this host and this network.
    'https://localhost/',
    'https://LOCALHOST/',
    'https://a.localhost/',
    'https://localhost.localdomain/',
    'https://localhost./',
    'https://example.com./',
    'https://printer.local/',
    'https://metadata.google.internal/',
    'https://router.lan/',
    'https://nas.home.arpa/',
    'https://redis/',
    'https://api_1.example.com/',
    // Addresses that are not public.
    'https://127.0.0.1/',
    'https://127.0.0.1./',
    'https://0.0.0.0/',
    'https://10.0.0.1/',
    'https://172.16.0.1/',
    'https://192.168.0.1/',
    'https://169.254.169.254/latest/meta-data',
    'https://100.64.0.1/',
    'https://224.0.0.1/',
    'https://255.255.255.255/',
    'https://[::]/',
    'https://[::1]/',
    'https://[::127.0.0.1]/',
    'https://[::ffff:127.0.0.1]/',
    'https://[::ffff:7f00:1]/',
    'https://[::ffff:a9fe:a9fe]/',
    'https://[64:ff9b::7f00:1]/',
    'https://[2002:7f00:1::]/',
    'https://[fd00::1]/',
    'https://[fe80::1]/',
    'https://[fe80::1%25eth0]/',
    'https://[ff02::1]/',
    // The same in other spellings.
    'https://2130706433/',
    'https://0x7f000001/',
    'https://0x7f.0.0.1/',
    'https://0177.0.0.1/',
    'https://017700000001/',
    'https://127.1/',
    'https://127.0.1/',
    'https://0/',
    'https://127.0.0.01/',
    'https://127。0。0。1/',
    'https://①②⑦.0.0.1/',
    'https://%31%32%37.0.0.1/',
    'https://１２７.0.0.1/',
    'https://ⓛocalhost/',
    'https://0x08080808/',
    'https://134744072/',
    'https://[0:0:0:0:0:0:0:1]/',
    'https://[::FFFF:127.0.0.1]/',
    'https://1.2.3.4.5/',
    'https://256.256.256.256/',
  ])('H24 H29 may not be %j', (url) => {
    expect(refusalOf(url)).toMatchObject({ code: 'CALLBACK_REFUSED', field: 'callback' });
  });

  it('of the allow-list may be internal, on http and on a port of its own', () => {
    const allow = parseAllowList(['127.0.0.1:8080', 'hooks', '10.0.0.0/8']);
    expect(parseTarget('http://127.0.0.1:8080/x', allow).target).toBe('127.0.0.1:8080');
    expect(parseTarget('http://hooks/x', allow).target).toBe('hooks:80');
    expect(parseTarget('https://10.9.8.7:3000/', allow).target).toBe('10.9.8.7:3000');
    expect(refusalOf('http://127.0.0.1:8081/', allow)).toMatchObject({ code: 'CALLBACK_REFUSED' });
    expect(refusalOf('http://hooks:6379/', allow)).toMatchObject({ code: 'CALLBACK_REFUSED' });
    expect(refusalOf('http://[::ffff:10.9.8.7]/', allow)).toMatchObject({
      code: 'CALLBACK_REFUSED',
    });
    expect(refusalOf('http://10.9/', allow)).toMatchObject({ code: 'CALLBACK_REFUSED' });
  });

  it('says what was expected and what came', () => {
    expect(refusalOf('https://127.1/')).toMatchObject({
      message: 'callback: expected the host as it is read, 127.0.0.1; came 127.1',
    });
    expect(refusalOf('https://10.0.0.1/')).toMatchObject({
      message: 'callback: expected an address on the public internet; came 10.0.0.1',
    });
  });
});

describe('acceptance', () => {
  it('makes the field of the record, with the output in it unless it is to stay out', () => {
    const accept = createAcceptCallback({ secret: SECRET, allow: none });
    expect(accept(undefined)).toBeNull();
    expect(JSON.parse(accept('https://example.com/x') ?? '')).toEqual({
      url: 'https://example.com/x',
      target: 'example.com:443',
      includeOutput: true,
    });
    const asked = { url: 'https://example.com/x', includeOutput: false };
    expect(JSON.parse(accept(asked) ?? '')).toMatchObject({ includeOutput: false });
  });

  it('refuses every callback while there is nothing to sign with', () => {
    const accept = createAcceptCallback({ secret: undefined, allow: none });
    expect(accept(undefined)).toBeNull();
    expect(() => accept('https://example.com/x')).toThrow('callbacks are off');
  });
});
