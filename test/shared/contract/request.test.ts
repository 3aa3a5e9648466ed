import { describe, expect, it } from 'vitest';
import { fileBytes, jobRequest } from '../../../shared/contract/request.ts';

const command = ['true'];

/** The first fault of a request as `path: message`; undefined when it is accepted. */
function faultOf(request: unknown): string | undefined {
  const issue = jobRequest.safeParse(request).error?.issues[0];
  return issue === undefined ? undefined : `${issue.path.join('.')}: ${issue.message}`;
}

const LONG = 'x'.repeat(131_072);
const many = (count: number) => Array.from({ length: count }, (_, index) => index);
const variables = (count: number) => Object.fromEntries(many(count).map((n) => [`V${n}`, '']));
const lone = 'a\ud800b';

describe('a request', () => {
  it.each([
    ['a command alone', { command }],
    ['a script alone', { script: 'echo 1' }],
    ['steps alone', { steps: [{ name: 'a', command }] }],
    ['the longest argument that Linux takes', { command: ['echo', LONG.slice(1)] }],
    ['as many arguments as there may be', { command: many(256).map(String) }],
    ['an empty argument that is not the program', { command: ['echo', ''] }],
    ['any Unicode in an argument', { command: ['echo', '🙂\n\t\u0001'] }],
    ['sixteen steps', { steps: many(16).map((n) => ({ name: `s${n}`, command })) }],
    ['a binary file', { command, files: [{ path: 'a', content: 'AA==', encoding: 'base64' }] }],
    ['an empty file', { command, files: [{ path: 'a', content: '' }] }],
    ['NUL in stdin, which is not an argument', { command, stdin: 'a\0b' }],
    ['fractions of a core', { command, limits: { cpus: 0.5 } }],
    ['no limit in particular', { command, limits: {} }],
  ])('is accepted with %s', (_, request) => {
    expect(faultOf(request)).toBeUndefined();
  });

  it.each([
    [
      'nothing to run',
      {},
      ': expected exactly one of `command`, `script`, `steps`; came none of them',
    ],
    [
      'two programs',
      { command, script: 'x' },
      ': expected exactly one of `command`, `script`, `steps`; came `command` and `script`',
    ],
    [
      'three programs',
      { command, script: 'x', steps: [{ name: 'a', command }] },
      ': expected exactly one of `command`, `script`, `steps`; came `command` and `script` and `steps`',
    ],
    ['an empty command', { command: [] }, 'command: Too small: expected array to have >=1 items'],
    [
      'an empty program',
      { command: [''] },
      'command: expected a program as the first item, came an empty string',
    ],
    [
      'too many arguments',
      { command: many(257).map(String) },
      'command: Too big: expected array to have <=256 items',
    ],
    [
      'an argument that Linux would refuse',
      { command: ['echo', LONG] },
      'command.1: expected at most 131071 bytes of UTF-8',
    ],
    [
      'an argument that is too long in bytes, not in characters',
      { command: ['é'.repeat(65_536)] },
      'command.0: expected at most 131071 bytes of UTF-8',
    ],
    [
      'NUL in an argument',
      { command: ['a\0'] },
      'command.0: expected text without NUL and without lone surrogates',
    ],
    [
      'a lone surrogate in an argument',
      { command: [lone] },
      'command.0: expected text without NUL and without lone surrogates',
    ],
    [
      'a string for a command',
      { command: 'ls' },
      'command: Invalid input: expected array, received string',
    ],
    ['an empty script', { script: '' }, 'script: expected a script, came an empty string'],
    [
      'NUL in a script',
      { script: 'a\0' },
      'script: expected text without NUL and without lone surrogates',
    ],
    ['no step', { steps: [] }, 'steps: Too small: expected array to have >=1 items'],
    [
      'too many steps',
      { steps: many(17).map((n) => ({ name: `s${n}`, command })) },
      'steps: Too big: expected array to have <=16 items',
    ],
    [
      'two steps of one name',
      {
        steps: [
          { name: 'a', command },
          { name: 'a', command },
        ],
      },
      'steps: expected step names that differ',
    ],
    [
      'a step without a program',
      { steps: [{ name: 'a' }] },
      'steps.0: expected exactly one of `command`, `script`; came none of them',
    ],
    [
      'a step with two programs',
      { steps: [{ name: 'a', command, script: 'x' }] },
      'steps.0: expected exactly one of `command`, `script`; came `command` and `script`',
    ],
    [
      'a step with a name for a shell',
      { steps: [{ name: 'a b', command }] },
      'steps.0.name: expected 1 to 64 letters, digits, dots, dashes',
    ],
    [
      'stdin beside steps',
      { steps: [{ name: 'a', command }], stdin: '' },
      'stdin: expected `stdin` in the step that reads it, came beside `steps`',
    ],
    [
      'a lone surrogate in stdin',
      { command, stdin: lone },
      'stdin: expected text without lone surrogates',
    ],
    [
      'content that is not base64',
      { command, files: [{ path: 'a', content: '!', encoding: 'base64' }] },
      'files.0.content: expected standard base64',
    ],
    [
      'base64 of the alphabet for URLs',
      { command, files: [{ path: 'a', content: '-_-_', encoding: 'base64' }] },
      'files.0.content: expected standard base64',
    ],
    [
      'a lone surrogate in a file',
      { command, files: [{ path: 'a', content: lone }] },
      'files.0.content: expected text without lone surrogates',
    ],
    [
      'one path twice',
      {
        command,
        files: [
          { path: 'a', content: '' },
          { path: 'a', content: '' },
        ],
      },
      'files: expected each path once, came "a" twice',
    ],
    [
      'a file outside of /work',
      { command, files: [{ path: '../a', content: '' }] },
      'files.0.path: expected a plain relative path, came a component ".."',
    ],
    [
      'an absolute folder',
      { command, cwd: '/etc' },
      'cwd: expected a path relative to /work, came an absolute one',
    ],
    [
      'a glob out of /work',
      { command, collect: ['../**'] },
      'collect.0: expected a plain relative path, came a component ".."',
    ],
    [
      'a variable with a wrong name',
      { command, env: { 'A B': '' } },
      'env.A B: Invalid key in record',
    ],
    [
      'a variable with "=" in its name',
      { command, env: { 'A=B': '' } },
      'env.A=B: Invalid key in record',
    ],
    ['too many variables', { command, env: variables(257) }, 'env: expected at most 256 variables'],
    [
      'NUL in a variable',
      { command, env: { A: 'a\0' } },
      'env.A: expected text without NUL and without lone surrogates',
    ],
    [
      'another runtime',
      { command, runtime: 'kata' },
      'runtime: Invalid option: expected one of "runc"|"runsc"',
    ],
    ['an empty label', { command, labels: { '': 'a' } }, 'labels.: Invalid key in record'],
    ['too many labels', { command, labels: variables(33) }, 'labels: expected at most 32 labels'],
  ])('is refused with %s, and told so', (_, request, fault) => {
    expect(faultOf(request)).toBe(fault);
  });

  it.each(['timeoutMs', 'expiresInMs', 'retainMs'])(
    'has a %s that is a positive whole number',
    (name) => {
      for (const value of [
        0,
        -1,
        1.5,
        Number.NaN,
        Number.POSITIVE_INFINITY,
        '1000',
        null,
        true,
        2 ** 60,
      ]) {
        expect([value, faultOf({ command, [name]: value })?.split(':')[0]]).toEqual([value, name]);
      }
      expect(faultOf({ command, [name]: 1 })).toBeUndefined();
    },
  );

  it('takes no 0, negative, NaN, infinite or textual limit for "unlimited"', () => {
    const names = [
      'cpuMs',
      'cpus',
      'memoryMb',
      'processes',
      'workspaceMb',
      'openFiles',
      'stdoutBytes',
      'stderrBytes',
      'artifactBytes',
    ];
    for (const name of names) {
      for (const value of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, '1', null]) {
        const path = faultOf({ command, limits: { [name]: value } })?.split(':')[0];
        expect([name, value, path]).toEqual([name, value, `limits.${name}`]);
      }
    }
  });

  it.each([
    [{ command, timeout: 1000 }, ': Unrecognized key: "timeout"'],
    [{ command, limits: { memory: 1 } }, 'limits: Unrecognized key: "memory"'],
    [
      { command, files: [{ path: 'a', content: '', mode: 1 }] },
      'files.0: Unrecognized key: "mode"',
    ],
    [{ steps: [{ name: 'a', command, env: {} }] }, 'steps.0: Unrecognized key: "env"'],
  ])('is strict at every level: %o', (request, fault) => {
    expect(faultOf(request)).toBe(fault);
  });

  it('is an object and nothing else', () => {
    for (const request of [null, undefined, [], 'true', 1]) expect(faultOf(request)).toBeDefined();
  });

  it('takes a variable that the kernel would refuse for a fault of the request', () => {
    // The kernel and the guest see NAME=VALUE as one text.
    expect(faultOf({ command, env: { NAME: LONG.slice(1) } })).toMatch(/^env/);
    expect(faultOf({ command, env: { A: LONG.slice(1 + 'A='.length) } })).toBeUndefined();
  });
});

describe('the weight of a file', () => {
  it('is that of its content in the sandbox', () => {
    expect(fileBytes('é', 'utf8')).toBe(2);
    expect(fileBytes('AAEC', 'base64')).toBe(3);
    expect(fileBytes('AA==', 'base64')).toBe(1);
    expect(fileBytes('', 'base64')).toBe(0);
  });
});
