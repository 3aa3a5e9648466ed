/** `cofferdam batch` against a real server, and against one that is killed. */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import { sandboxes } from '../helpers/docker.ts';
import { startServer } from '../helpers/server.ts';
import { cofferdam, run } from './command-line.ts';

const server = inject('server');
const env = { COFFERDAM_URL: server.url, COFFERDAM_DEV_KEY: server.key };
const LONG_MS = 240_000;
const WITHIN = { timeout: 60_000, interval: 20 };

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-cli-batch-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const jobs = (scripts: readonly string[]): string =>
  scripts.map((script) => `${JSON.stringify({ command: ['sh', '-c', script] })}\n`).join('');
const many = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => `echo ${index}; exit $((${index} % 10 == 9))`);
const at = (name: string): string => path.join(folder, name);
const write = (name: string, text: string): void => writeFileSync(at(name), text);
const bytesOf = (name: string): number => (existsSync(at(name)) ? statSync(at(name)).size : 0);

interface Line {
  readonly index: number;
  readonly key: string | null;
  readonly stdout: string;
}
const linesOf = (text: string): Line[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
const results = (name = 'out.ndjson'): Line[] => linesOf(readFileSync(at(name), 'utf8'));
const isWhole = (count: number): boolean =>
  readFileSync(at('out.ndjson'), 'utf8').split('\n').length > count;
/** Each job once, and each with what its own program printed. */
const expectEachOnce = (lines: readonly Line[], count: number): void => {
  const sorted = lines.toSorted((one, other) => one.index - other.index);
  expect(sorted.map(({ index, stdout }) => `${index} ${stdout}`)).toEqual(
    Array.from({ length: count }, (_, index) => `${index} ${index}\n`),
  );
};

const batch = (args: string[], stdin?: string) =>
  run(['batch', ...args], { env, cwd: folder, ...(stdin === undefined ? {} : { stdin }) });
const runArgs = ['run', 'jobs.ndjson', '-o', 'out.ndjson'];
const batchIn = (text: string): string => text.match(/bat_[0-9a-f]{32}/)?.[0] ?? 'none';

describe('batch run', () => {
  test('writes every result once, with a summary, and exits with 1 for those that failed', async () => {
    write('jobs.ndjson', jobs(many(50)));
    const { code, stdout, stderr } = await batch([...runArgs, '--group']);
    expect([code, stdout]).toEqual([1, '']);
    expectEachOnce(results(), 50);
    expect(stderr).toMatch(/bat_[0-9a-f]{32}: 50 jobs accepted/);
    expect(stderr).toMatch(/exited_zero +45\n +exited_nonzero +5\n/);
  });

  test('reads standard input and writes standard output, with nothing else on it', async () => {
    const { code, stdout } = await batch(['run', '-', '--group'], jobs(['echo 0', 'echo 1']));
    expect(code).toBe(0);
    expectEachOnce(linesOf(stdout), 2);
  });

  test('gives its options to every job that does not have its own', async () => {
    const python = { key: 'a', script: 'print(0)' };
    const shell = { key: 'b', script: 'echo 1', image: 'base' };
    write('jobs.ndjson', `${JSON.stringify(python)}\n${JSON.stringify(shell)}\n`);
    expect((await batch([...runArgs, '--image', 'python', '--max-parallel', '1'])).code).toBe(0);
    expectEachOnce(results(), 2);
    expect(results().map(({ key }) => key)).toEqual(expect.arrayContaining(['a', 'b']));
  });

  test('stops at the first failure when it is told to', async () => {
    write('jobs.ndjson', jobs(['exit 3', ...many(8).map(() => 'sleep 20')]));
    const { code, stderr } = await batch([
      ...runArgs,
      '--stop-on-first-failure',
      '--max-parallel',
      '1',
    ]);
    expect(code).toBe(125);
    expect(stderr).toMatch(/exited_nonzero +1\n +cancelled +8\n/);
    expect(results()).toHaveLength(9);
  });

  test.each([[[]], [['--image', 'base']]])(
    'names the line of the file that is refused, with options %j, and writes nothing',
    async (options) => {
      write('jobs.ndjson', `${jobs(['true', 'true'])}{"command":\n${jobs(['true'])}`);
      const { code, stderr } = await batch([...runArgs, ...options]);
      expect(code).toBe(1);
      expect(stderr).toMatch(/^cofferdam: jobs\.ndjson:3: BODY_NOT_JSON: /m);
      expect(stderr).not.toMatch(/\n\s+at /);
      expect(bytesOf('out.ndjson')).toBe(0);
      const { stdout } = await batch(['status', batchIn(stderr)]);
      expect(stdout).not.toContain('queued');
      // The mended file is a new batch.
      write('jobs.ndjson', jobs(many(3)));
      expect((await batch([...runArgs, ...options])).code).toBe(0);
      expectEachOnce(results(), 3);
    },
  );

  test('names a refused line early in a long file, though it is still sending', async () => {
    const filler = jobs(many(20_000).map((script) => `${script} # ${'x'.repeat(500)}`));
    write('jobs.ndjson', `${jobs(['true'])}{"command":["true"],"timeoutMs":-1}\n${filler}`);
    const { code, stderr } = await batch(runArgs);
    expect(code).toBe(1);
    expect(stderr).toMatch(/jobs\.ndjson:2: REQUEST_INVALID: .*timeoutMs/);
  });

  test('leaves out what is refused when it is told to, names it, and exits with 1', async () => {
    write('jobs.ndjson', `${jobs(['echo 0'])}{"image":"nope","script":""}\n${jobs(['echo 2'])}`);
    const { code, stderr } = await batch([...runArgs, '--skip-invalid']);
    expect(code).toBe(1);
    expect(stderr).toMatch(/jobs\.ndjson:2: .*left out/);
    expect(stderr).toMatch(/exited_zero +2\n +refused +1\n/);
  });

  test.each([
    ['no file', ['run', 'none.ndjson'], /none\.ndjson: ENOENT/],
    ['no jobs', ['run', '-'], /REQUEST_INVALID: expected a job in each line; came none/],
    ['a batch that is not there', ['status', 'bat_x'], /NOT_FOUND/],
    ['no number', ['run', 'x', '--max-parallel', '0'], /expected a whole number from 1; came 0/],
  ])('refuses %s in one clear line', async (_name, args, message) => {
    const { code, stderr } = await batch(args);
    expect(code).toBe(1);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/\n\s+at /);
  });
});

describe('batch run, cut', () => {
  test(
    'by SIGKILL at random moments, again and again, ends with each result once',
    async () => {
      const count = 400;
      // Slow enough that results still come when the last kills do.
      write('jobs.ndjson', jobs(many(count).map((script) => `sleep 0.06; ${script}`)));
      const start = () => cofferdam(['batch', ...runArgs, '--group'], { env, cwd: folder });
      // While it starts and uploads, then while it writes.
      for (let kill = 0; kill < 14; kill += 1) {
        const before = bytesOf('out.ndjson');
        const command = start();
        if (kill < 7) await sleep(300 + Math.random() * 600);
        else
          await expect
            .poll(() => bytesOf('out.ndjson') > before || isWhole(count), WITHIN)
            .toBe(true);
        await sleep(Math.random() * 100);
        command.kill('SIGKILL');
        await command.exitCode;
      }
      const last = start();
      expect(await last.exitCode).toBe(1);
      expectEachOnce(results(), count);
      expect(last.stderr()).toMatch(/exited_zero +360\n +exited_nonzero +40\n/);
    },
    LONG_MS,
  );

  test('by ^C says how to go on and how to cancel, and goes on with the same batch', async () => {
    write('jobs.ndjson', jobs([...many(5), 'sleep 3; echo 5', 'echo 6']));
    const first = cofferdam(['batch', ...runArgs], { env, cwd: folder });
    await expect.poll(() => bytesOf('out.ndjson'), WITHIN).toBeGreaterThan(0);
    first.kill('SIGINT');
    expect(await first.exitCode).toBe(130);
    const id = batchIn(first.stderr());
    expect(first.stderr()).toContain(`${id} runs on. Go on: the same command again`);
    expect(first.stderr()).toContain(`Cancel it: cofferdam batch cancel ${id}`);
    const other = await batch([...runArgs, '--group']);
    expect([other.code, other.stderr]).toEqual([1, expect.stringContaining('other options')]);
    const second = await batch(runArgs);
    expect([second.code, batchIn(second.stderr)]).toEqual([0, id]);
    expectEachOnce(results(), 7);
  });

  test('by ^C while it waits for the end of another, ends', async () => {
    const command = cofferdam(['batch', 'status', '--wait', batchIn(await started())], { env });
    await sleep(1_000);
    command.kill('SIGINT');
    expect(await command.exitCode).toBe(130);
    expect(command.stderr()).toContain('runs on');
  });

  test(
    'by a server that is killed and started again, goes on by itself',
    async () => {
      const dataDir = at('data');
      const port = await freePort();
      const settings = { COFFERDAM_DATA_DIR: dataDir, COFFERDAM_PORT: String(port) };
      const count = 150;
      write('jobs.ndjson', jobs(many(count)));
      let own = await startServer(settings);
      try {
        const ownEnv = { COFFERDAM_URL: own.url, COFFERDAM_DEV_KEY: own.key };
        const command = cofferdam(['batch', ...runArgs, '--group'], { env: ownEnv, cwd: folder });
        await expect.poll(() => bytesOf('out.ndjson'), WITHIN).toBeGreaterThan(0);
        const killed = own.worker();
        process.kill(own.pid, 'SIGKILL');
        await sleep(1_500);
        own = await startServer(settings);
        expect(await command.exitCode).toBe(1);
        expect(command.stderr()).toMatch(/No answer from .*Trying again; \^C stops/);
        expectEachOnce(results(), count);
        await expect.poll(() => sandboxes(killed), WITHIN).toEqual([]);
      } finally {
        await own.stop();
      }
    },
    LONG_MS,
  );
});

describe('batch status, results and cancel', () => {
  test('show a batch, read it so far and to its end, and end it', async () => {
    write('jobs.ndjson', jobs(['echo 0', 'sleep 60', 'sleep 60']));
    const following = cofferdam(['batch', ...runArgs], { env, cwd: folder });
    await expect.poll(() => bytesOf('out.ndjson'), WITHIN).toBeGreaterThan(0);
    const id = batchIn(following.stderr());

    const status = await batch(['status', id]);
    expect([status.code, status.stdout]).toEqual([0, expect.stringContaining('1 of 3 done')]);
    expect(JSON.parse((await batch(['status', id, '--json'])).stdout).counts.total).toBe(3);
    expect((await batch(['results', id, '-o', 'so-far.ndjson'])).code).toBe(0);
    expect(results('so-far.ndjson')).toHaveLength(1);

    const cancelled = await batch(['cancel', id]);
    expect([cancelled.code, cancelled.stdout]).toEqual([0, expect.stringContaining(id)]);
    expect(await following.exitCode).toBe(125);
    expect(results()).toHaveLength(3);
    expect((await batch(['status', id, '--wait'])).code).toBe(125);

    // The same file goes on where it ended.
    const rest = await batch(['results', id, '-o', 'so-far.ndjson', '--follow']);
    expect(rest.code).toBe(125);
    expect(results('so-far.ndjson')).toEqual(results());
    expect(linesOf((await batch(['results', id])).stdout)).toEqual(results());
  });
});

/** What `batch run` said of a batch that takes a while. */
async function started(): Promise<string> {
  write('slow.ndjson', jobs(['sleep 5']));
  const command = cofferdam(['batch', 'run', 'slow.ndjson'], { env, cwd: folder });
  await expect.poll(() => batchIn(command.stderr()), WITHIN).not.toBe('none');
  command.kill('SIGKILL');
  await command.exitCode;
  return command.stderr();
}

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const probe = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as net.AddressInfo;
      probe.close(() => resolve(port));
    });
  });
