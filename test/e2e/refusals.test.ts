/** Requests that ask for what cannot be: each refused in words, with nothing recorded and nothing started. */
import { describe, expect, inject, test } from 'vitest';
import { callerOf } from '../helpers/server.ts';
import { invalid, nothingComesOfIt, OK, refused } from './refusing.ts';

const api = callerOf(inject('server'));
nothingComesOfIt();

describe('fields', () => {
  test.each(['unknown', 'comand', 'timeout', 'privileged', 'Command', 'constructor'])(
    'the unknown field %s is refused by its name',
    async (name) => {
      const { detail } = await invalid({ ...OK, [name]: 'x' });
      expect(detail).toContain(name);
    },
  );

  test('an unknown field within another is refused', async () => {
    await invalid({ ...OK, limits: { memory: 5 } }, 'limits');
    await invalid({ ...OK, files: [{ path: 'a', content: '', mode: 1 }] }, 'files.0');
    await invalid({ steps: [{ name: 'a', command: ['true'], image: 'base' }] }, 'steps.0');
  });

  test('H09 keys that JavaScript itself would understand are refused', async () => {
    for (const text of [
      '{"command":["true"],"__proto__":{"image":"base"}}',
      '{"command":["true"],"env":{"__proto__":{"A":"b"}}}',
      '{"command":["true"],"labels":{"constructor":{"prototype":{"a":"b"}}}}',
    ]) {
      const response = await api.send('/v1/jobs', { method: 'POST', body: text });
      expect([text, response.status]).toEqual([text, 400]);
    }
    expect(({} as Record<string, unknown>).image).toBeUndefined();
  });

  test.each([null, [], 'text', 42, true])('a body that is %j is refused', async (body) => {
    await invalid(JSON.stringify(body));
  });

  test('wrong types are refused by field', async () => {
    await invalid({ command: 'true' }, 'command');
    await invalid({ command: ['echo', 1] }, 'command.1');
    await invalid({ ...OK, env: { A: 1 } }, 'env.A');
    await invalid({ ...OK, env: ['A=b'] }, 'env');
    await invalid({ ...OK, parseJson: 'true' }, 'parseJson');
    await invalid({ ...OK, truncate: 'middle' }, 'truncate');
    await invalid({ ...OK, onLost: 'again' }, 'onLost');
    await invalid({ ...OK, labels: { a: 1 } }, 'labels.a');
    await invalid({ ...OK, stdin: 5 }, 'stdin');
    await invalid({ ...OK, image: '' }, 'image');
  });

  test('a lane that there is not is refused', async () => {
    for (const lane of ['', 'Bulk', 'batch', 0, null]) await invalid({ ...OK, lane }, 'lane');
  });

  test('an isolation that there is not is refused', async () => {
    for (const isolation of ['', 'none', 'GROUP', 'sandbox', true]) {
      await invalid({ ...OK, isolation }, 'isolation');
    }
  });

  test('a group and its isolation are refused without each other', async () => {
    await invalid({ ...OK, isolation: 'group' }, 'group');
    await invalid({ ...OK, group: 'a' }, 'group');
    await invalid({ ...OK, isolation: 'job', group: 'a' }, 'group');
  });

  test('a group whose name cannot be is refused', async () => {
    for (const group of ['', ' ', 'a b', 'a\nb', 'a\0', 'é', 'x'.repeat(129), 5]) {
      await invalid({ ...OK, isolation: 'group', group }, 'group');
    }
  });

  test('a runtime that this server does not have is refused', async () => {
    for (const runtime of ['runc ', '', 'kata', 5]) await invalid({ ...OK, runtime }, 'runtime');
  });

  test('H35 an image that is not in the catalogue is refused with those that are', async () => {
    for (const image of ['nope', 'base ', 'BASE', '../base', 'debian:bookworm-slim', '__proto__']) {
      const { detail } = await refused({ ...OK, image }, 422, 'IMAGE_UNKNOWN', 'image');
      expect(detail).toContain('base, python, node');
    }
  });
});

describe('programs', () => {
  test('two of command, script and steps, or none, are refused', async () => {
    const steps = [{ name: 'a', command: ['true'] }];
    expect((await invalid({ ...OK, script: 'true' })).detail).toContain('`command` and `script`');
    await invalid({ ...OK, steps });
    await invalid({ script: 'true', steps });
    expect((await invalid({})).detail).toContain('none of them');
    await invalid({ image: 'python' });
    await invalid({ steps: [{ name: 'a' }] }, 'steps.0');
    await invalid({ steps: [{ name: 'a', command: ['true'], script: 'true' }] }, 'steps.0');
  });

  test('an empty program is refused', async () => {
    await invalid({ command: [] }, 'command');
    await invalid({ command: [''] }, 'command');
    await invalid({ command: ['', 'a'] }, 'command');
    await invalid({ script: '' }, 'script');
    await invalid({ steps: [] }, 'steps');
  });

  test('H36 text that cannot be an argument is refused', async () => {
    for (const text of ['a\0b', '\0', '\ud800', 'a\udfffb', 'x'.repeat(131_072)]) {
      await invalid({ command: ['echo', text] }, 'command.1');
      await invalid({ command: [text || 'x', 'a'] }, 'command.0');
      await invalid({ ...OK, env: { A: text } }, 'env.A');
    }
    await invalid({ script: 'a\0b' }, 'script');
    await invalid({ command: ['cat'], stdin: '\ud800' }, 'stdin');
  });

  test('H36 H37 more than there may be of anything is refused', async () => {
    await invalid({ command: Array.from({ length: 257 }, () => 'a') }, 'command');
    const steps = Array.from({ length: 17 }, (_, at) => ({ name: `s${at}`, command: ['true'] }));
    await invalid({ steps }, 'steps');
    const files = Array.from({ length: 1_001 }, (_, at) => ({ path: `f${at}`, content: '' }));
    await invalid({ ...OK, files }, 'files');
    await invalid({ ...OK, collect: Array.from({ length: 65 }, (_, at) => `f${at}`) }, 'collect');
    const many = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, at) => [`V${at}`, 'x']));
    await invalid({ ...OK, env: many(257) }, 'env');
    await invalid({ ...OK, labels: many(33) }, 'labels');
  });

  test('H37 names that cannot be are refused', async () => {
    for (const name of ['', '1A', 'A-B', 'A=B', 'É', 'A\0', 'A B', 'x'.repeat(256)]) {
      await refused({ ...OK, env: { [name]: 'x' } }, 400, 'REQUEST_INVALID', `env.${name}`);
    }
    await invalid({ steps: [{ name: 'a b', command: ['true'] }] }, 'steps.0.name');
    const twice = { name: 'a', command: ['true'] };
    await invalid({ steps: [twice, twice] }, 'steps');
    await invalid({ steps: [twice], stdin: 'x' }, 'stdin');
  });
});
