/** Files that a job leaves, and how they are fetched. */
import { createHash } from 'node:crypto';
import tar from 'tar-stream';
import { describe, expect, inject, test } from 'vitest';
import { callerOf } from '../helpers/server.ts';

const api = callerOf(inject('server'));
const sh = (text: string) => ({ command: ['sh', '-c', text] });
const bytesOf = async (route: string): Promise<Buffer> => {
  const response = await api.send(route);
  if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
  return Buffer.from(await response.arrayBuffer());
};

/** Name → content of every entry of a tar. */
async function entriesOf(bytes: Buffer): Promise<Record<string, Buffer>> {
  const entries: Record<string, Buffer> = {};
  const extract = tar.extract();
  extract.on('entry', ({ name }, stream, next) => {
    const chunks: Buffer[] = [];
    stream.on('data', (chunk) => chunks.push(chunk as Buffer));
    stream.on('end', () => {
      entries[name] = Buffer.concat(chunks);
      next();
    });
  });
  const ended = new Promise<void>((resolve, reject) => {
    extract.once('finish', resolve);
    extract.once('error', reject);
  });
  extract.end(bytes);
  await ended;
  return entries;
}

const WORDS = {
  ...sh(
    'mkdir -p out/deep; echo 1 > a.txt; echo 2 > out/b.txt; echo 3 > out/deep/c.txt; echo 4 > .hidden; echo 5 > d.log',
  ),
};
const collected = async (collect: string[]): Promise<string[]> =>
  (await api.run({ ...WORDS, collect })).artifacts.map(({ path }) => path);

describe('collect', () => {
  test.each([
    [['a.txt'], ['a.txt']],
    [['*.txt'], ['a.txt']],
    [['**/*.txt'], ['a.txt', 'out/b.txt', 'out/deep/c.txt']],
    [['out/*'], ['out/b.txt', 'out/deep/c.txt']],
    [['out'], ['out/b.txt', 'out/deep/c.txt']],
    [
      ['?.log', '[a-c].txt', 'a.txt'],
      ['a.txt', 'd.log'],
    ],
    [['*'], ['a.txt', 'd.log', 'out/b.txt', 'out/deep/c.txt']],
    [['.hidden'], ['.hidden']],
    [['nothing-like-it'], []],
  ])('%j brings %j', async (collect, paths) => {
    expect(await collected(collect)).toEqual(paths);
  });

  test('a job that failed brings what it left', async () => {
    const result = await api.run({ ...sh('echo half > part; exit 3'), collect: ['part'] });
    expect(result).toMatchObject({ exitCode: 3, artifacts: [{ path: 'part', bytes: 5 }] });
    const late = await api.run({
      ...sh('echo half > part; sleep 60'),
      collect: ['part'],
      timeoutMs: 600,
    });
    expect(late).toMatchObject({ exitCode: 124, artifacts: [{ path: 'part', bytes: 5 }] });
  });

  test('a file of the request and a script are artifacts only when they are asked for', async () => {
    const result = await api.run({
      files: [{ path: 'in.txt', content: 'given' }],
      script: 'echo made > out.txt',
      collect: ['*'],
    });
    expect(result.artifacts.map(({ path }) => path)).toEqual(['in.txt', 'out.txt']);
  });

  test('what is no plain file, or too large, or not to be read, is skipped with its reason', async () => {
    const result = await api.run({
      ...sh(
        'ln -s /etc/passwd link; mkfifo fifo; head -c 2000 /dev/zero > large; echo 1 > twice; ln twice other; echo s > secret; chmod 000 secret; echo kept > small',
      ),
      collect: ['*'],
      limits: { artifactBytes: 1_000 },
    });
    expect(result.artifacts.map(({ path }) => path)).toEqual(['small']);
    expect(
      Object.fromEntries(result.artifactsSkipped.map(({ path, reason }) => [path, reason])),
    ).toEqual({
      fifo: 'not_regular',
      large: 'too_large',
      link: 'not_regular',
      other: 'not_regular',
      secret: 'unreadable',
      twice: 'not_regular',
    });
  });

  test('a folder that is a link is not followed', async () => {
    const result = await api.run({ ...sh('ln -s /etc folder'), collect: ['folder/*', '**'] });
    expect(result.artifacts).toEqual([]);
  });

  test('artifacts fill artifactBytes to the last byte, and no further', async () => {
    const result = await api.run({
      ...sh('head -c 600 /dev/zero > a; head -c 500 /dev/zero > b; head -c 400 /dev/zero > c'),
      collect: ['*'],
      limits: { artifactBytes: 1_000 },
    });
    expect(result.artifacts.map(({ path }) => path)).toEqual(['a', 'c']);
    expect(result.artifactsSkipped).toEqual([{ path: 'b', reason: 'too_large' }]);
  });

  test('more files than are kept are counted out', async () => {
    const result = await api.run({
      ...sh('for i in $(seq 1010); do : > f$i; done'),
      collect: ['*'],
    });
    expect(result.artifacts).toHaveLength(1_000);
    expect(result.artifactsSkipped).toHaveLength(10);
    expect(new Set(result.artifactsSkipped.map(({ reason }) => reason))).toEqual(
      new Set(['too_many']),
    );
  });
});

describe('fetching', () => {
  test('one artifact comes back byte for byte, as nothing that a browser would run', async () => {
    const content = Buffer.from(Array.from({ length: 100_000 }, (_, at) => (at * 7) % 256));
    const result = await api.run({
      files: [{ path: 'page.html', content: content.toString('base64'), encoding: 'base64' }],
      command: ['true'],
      collect: ['page.html'],
    });
    const sha256 = createHash('sha256').update(content).digest('hex');
    const url = `/v1/jobs/${result.id}/artifacts/page.html`;
    expect(result.artifacts).toEqual([{ path: 'page.html', bytes: content.length, sha256, url }]);
    const response = await api.send(url);
    expect(response.headers.get('content-type')).toBe('application/octet-stream');
    expect(response.headers.get('content-disposition')).toMatch(/^attachment/);
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    expect(response.headers.get('content-length')).toBe(String(content.length));
    expect(Buffer.from(await response.arrayBuffer()).equals(content)).toBe(true);
  });

  const NAMES = [
    'with space',
    'naïve 日本 😀',
    'a#b',
    'a?b=c',
    '100%',
    '%2e%2e',
    '%2Fetc',
    'a&b+c;d',
    'a:b@c',
    'quote\'"',
    'dir #1/file ?2',
    '..dots',
    '[a]',
    'artifacts.tar',
  ];

  test('names that a URL must encode are fetched by the url of the result', async () => {
    const result = await api.run({
      files: NAMES.map((path) => ({ path, content: `content of ${path}` })),
      command: ['true'],
      collect: ['**', '..dots'],
    });
    expect(result.artifacts.map(({ path }) => path).sort()).toEqual([...NAMES].sort());
    for (const { path, url } of result.artifacts) {
      expect((await bytesOf(url)).toString()).toBe(`content of ${path}`);
    }
    const entries = await entriesOf(await bytesOf(`/v1/jobs/${result.id}/artifacts.tar`));
    expect(Object.keys(entries).sort()).toEqual([...NAMES].sort());
  });

  test('artifacts.tar holds every artifact', async () => {
    const long = `${'d'.repeat(120)}/${'f'.repeat(200)}`;
    const result = await api.run({
      files: [
        { path: 'a', content: 'one' },
        { path: 'b/c', content: '' },
        { path: long, content: 'x'.repeat(70_000) },
      ],
      command: ['true'],
      collect: ['**'],
    });
    const response = await api.send(`/v1/jobs/${result.id}/artifacts.tar`);
    expect(response.headers.get('content-type')).toBe('application/x-tar');
    const entries = await entriesOf(Buffer.from(await response.arrayBuffer()));
    expect(
      Object.fromEntries(Object.entries(entries).map(([name, bytes]) => [name, bytes.length])),
    ).toEqual({
      a: 3,
      'b/c': 0,
      [long]: 70_000,
    });
  });

  test('a job without artifacts has an empty tar', async () => {
    const { id } = await api.run({ command: ['true'] });
    expect(await entriesOf(await bytesOf(`/v1/jobs/${id}/artifacts.tar`))).toEqual({});
  });

  test('what is not there, in whatever words, is a 404', async () => {
    const { id } = await api.run({ ...sh('echo x > a'), collect: ['a'] });
    const other = `job_${'0'.repeat(32)}`;
    const routes = [
      `/v1/jobs/${id}/artifacts/b`,
      `/v1/jobs/${id}/artifacts/`,
      `/v1/jobs/${id}/artifacts/a/`,
      `/v1/jobs/${id}/artifacts/A`,
      `/v1/jobs/${id}/artifacts/..%2Fa`,
      `/v1/jobs/${id}/artifacts/%2Fetc%2Fpasswd`,
      `/v1/jobs/${id}/artifacts/a%00`,
      `/v1/jobs/${other}/artifacts/a`,
      `/v1/jobs/${other}/artifacts.tar`,
      '/v1/jobs/not-an-id/artifacts/a',
      '/v1/jobs/not-an-id/artifacts.tar',
    ];
    for (const route of routes) {
      const response = await api.send(route);
      expect([route, response.status]).toEqual([route, 404]);
      expect(response.headers.get('content-type')).toContain('application/problem+json');
      expect(await response.json()).toMatchObject({ code: 'NOT_FOUND' });
    }
  });
});
