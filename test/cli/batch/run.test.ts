import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { showResultsOf } from '../../../services/cli/batch/results.ts';
import { type RunOptions, runBatch } from '../../../services/cli/batch/run.ts';
import { batchFolder, indexesIn, jobLines } from './folder.ts';
import { type BatchServer, startBatchServer } from './server.ts';

const folder = batchFolder();
let server: BatchServer;
beforeEach(async () => {
  server = await startBatchServer();
});
afterEach(() => server.stop());

const codes = Array.from({ length: 200 }, (_, index) => (index % 40 === 39 ? 1 : 0));
const all = codes.map((_, index) => index);
const run = (options: Partial<RunOptions> = {}, name = 'jobs.ndjson'): Promise<number> =>
  runBatch(server, folder.at(name), {
    output: folder.at('results.ndjson'),
    header: {},
    ...options,
  });
const WITHIN = { timeout: 20_000, interval: 10 };
const written = (): number =>
  existsSync(folder.at('results.ndjson')) ? folder.read('results.ndjson').length : 0;
const resultsRead = () => server.asked.filter((line) => line.includes('/results'));

describe('a run', () => {
  it('writes each result once, sums them up, and exits with 1 for those that failed', async () => {
    folder.write('jobs.ndjson', jobLines(codes));
    expect(await run()).toBe(1);
    expect(indexesIn(folder.read('results.ndjson'))).toEqual(all);
    expect(folder.said()).toMatch(/exited_zero +195\n +exited_nonzero +5/);
  });

  it.each([
    ['every job exited with 0', jobLines([0, 0]), {}, 0],
    ['a job was lost', `${jobLines([0, 1])}{"kind":"lost","cause":"worker_lost"}\n`, {}, 125],
    ['a job was refused and left out', `${jobLines([0])}x\n`, { onInvalid: 'skip' }, 1],
  ])('exits as %s', async (_name, text, header, code) => {
    folder.write('jobs.ndjson', text);
    expect(await run({ header })).toBe(code);
    // And says the same when it is asked again, without sending anything anew.
    expect(await run({ header })).toBe(code);
    expect(server.keys).toHaveLength(1);
  });

  it('names the line of the file that is refused, cancels what came before, and keeps nothing of it', async () => {
    folder.write('jobs.ndjson', `${jobLines([0, 0])}{"command":\n`);
    expect(await run({ header: { maxParallel: 1 } })).toBe(1);
    expect(folder.said()).toMatch(/jobs\.ndjson:3: REQUEST_INVALID: not JSON/);
    expect(server.batches[0]?.isCancelled).toBe(true);
    folder.write('jobs.ndjson', jobLines([0, 0, 0]));
    expect(await run({ header: { maxParallel: 1 } })).toBe(0);
  });

  it('takes a line that the policy denies for a refused one, not for a closed door', async () => {
    folder.write('jobs.ndjson', `${jobLines([0])}{"denied":true}\n`);
    expect(await run()).toBe(1);
    expect(folder.said()).toContain(
      'jobs.ndjson:2: POLICY_DENIED: exec_batch is denied by the rule r: No.',
    );
    expect(server.batches[0]?.isCancelled).toBe(true);
  });

  it('leaves a batch under a key of the caller’s own to the caller', async () => {
    folder.write('jobs.ndjson', `${jobLines([0])}x\n`);
    expect(await run({ key: 'mine' })).toBe(1);
    expect(server.keys).toEqual(['mine']);
    expect(server.batches[0]?.isCancelled).toBe(false);
  });

  it('names each line that was left out', async () => {
    folder.write('jobs.ndjson', `x\n${jobLines([0])}y\n`);
    await run({ header: { onInvalid: 'skip' } });
    expect(folder.said()).toMatch(/jobs\.ndjson:1: REQUEST_INVALID: not JSON \(left out\)/);
    expect(folder.said()).toMatch(/jobs\.ndjson:3: /);
    expect(folder.said()).toMatch(/refused +2/);
  });

  it('ends with 125 when results are no longer to be had', async () => {
    folder.write('jobs.ndjson', jobLines([0, 0, 0]));
    server.lost = 2;
    expect(await run()).toBe(125);
    expect(folder.said()).toMatch(/no_result +2/);
  });
});

describe('a run over a bad connection', () => {
  it('repeats an upload under its key until it went through', async () => {
    folder.write('jobs.ndjson', jobLines(codes));
    server.cutUploads.push(10, 150, 0);
    expect(await run()).toBe(1);
    expect(server.keys).toHaveLength(4);
    expect(new Set(server.keys).size).toBe(1);
    expect(indexesIn(folder.read('results.ndjson'))).toEqual(all);
  });

  it('goes on after the last whole line, wherever the connection is cut', async () => {
    folder.write('jobs.ndjson', jobLines(codes));
    server.cutResults.push(1, 50, 500, 0, 3333, 4096);
    expect(await run()).toBe(1);
    expect(indexesIn(folder.read('results.ndjson'))).toEqual(all);
    expect(resultsRead()).toHaveLength(7);
  });

  it('waits while the server is busy or fails, and asks again', async () => {
    folder.write('jobs.ndjson', jobLines([0]));
    const busy = { status: 429, code: 'TOO_MANY_OPEN_JOBS', retryAfter: 1 };
    server.refusals.push(busy, { status: 503, code: 'OVERLOADED' }, { status: 502, code: '' });
    expect(await run()).toBe(0);
    expect(folder.said()).toMatch(/TOO_MANY_OPEN_JOBS.*Trying again; \^C stops/);
  });

  it('does not wait for a server that is not there, and not for one that knows no such key', async () => {
    folder.write('jobs.ndjson', jobLines([0]));
    server.refusals.push({ status: 401, code: 'UNAUTHENTICATED' });
    expect(await run()).toBe(1);
    expect(folder.said()).toContain('UNAUTHENTICATED');
    const away = { ...server, url: 'http://127.0.0.1:9' };
    const output = folder.at('other.ndjson');
    expect(await runBatch(away, folder.at('jobs.ndjson'), { output, header: {} })).toBe(1);
    expect(folder.said()).toMatch(/No answer from http:\/\/127\.0\.0\.1:9/);
  });
});

describe('a run after one that was cut', () => {
  /** ^C while the connection is silent in the middle of a line. */
  const cutRun = async (): Promise<void> => {
    folder.write('jobs.ndjson', jobLines(codes));
    server.cutResults.push(3000);
    server.isHolding = true;
    const stopped = run();
    await expect.poll(written, WITHIN).toBeGreaterThan(0);
    process.emit('SIGINT', 'SIGINT');
    expect(await stopped).toBe(130);
    server.isHolding = false;
  };

  it('goes on with the same batch, and writes no line twice', async () => {
    await cutRun();
    expect(indexesIn(folder.read('results.ndjson')).length).toBeLessThan(200);
    expect(folder.said()).toMatch(/bat_\S+ runs on\. Go on: the same command again/);
    expect(folder.said()).toMatch(/Cancel it: cofferdam batch cancel bat_/);
    expect(await run()).toBe(1);
    expect(server.keys).toHaveLength(1);
    expect(indexesIn(folder.read('results.ndjson'))).toEqual(all);
  });

  it('ends with each result once, however often and wherever it was stopped before', async () => {
    folder.write('jobs.ndjson', jobLines(codes));
    for (let time = 0; time < 15; time += 1) {
      server.cutResults.push(time * 97);
      const stopped = run();
      await sleep(Math.random() * 30);
      process.emit('SIGINT', 'SIGINT');
      // 1 where it was quicker than the stop.
      expect([1, 130]).toContain(await stopped);
    }
    expect(await run()).toBe(1);
    expect(indexesIn(folder.read('results.ndjson'))).toEqual(all);
  });

  it('may be `batch results`, without the input', async () => {
    await cutRun();
    const output = folder.at('results.ndjson');
    const id = server.batches[0]?.id ?? '';
    expect(await showResultsOf(server, id, { output, isFollowing: true })).toBe(1);
    expect(indexesIn(folder.read('results.ndjson'))).toEqual(all);
  });

  it.each<[string, () => Promise<number>, RegExp]>([
    [
      'other jobs',
      () => {
        folder.write('jobs.ndjson', jobLines([0]));
        return run();
      },
      /another input/,
    ],
    ['other options', () => run({ header: { maxParallel: 2 } }), /of other options/],
    ['another key', () => run({ key: 'other' }), /another --key/],
    [
      'another server',
      () =>
        runBatch({ ...server, url: 'http://other' }, folder.at('jobs.ndjson'), {
          output: folder.at('results.ndjson'),
          header: {},
        }),
      /of the server http:\/\/127/,
    ],
  ])('refuses %s and says what to do', async (_name, other, message) => {
    await cutRun();
    const before = folder.read('results.ndjson');
    expect(await other()).toBe(1);
    expect(folder.said()).toMatch(message);
    expect(folder.said()).toMatch(
      /To go on with that one: cofferdam batch results bat_\S+ --follow/,
    );
    expect(folder.said()).toMatch(/To start anew: choose another --output, or remove/);
    expect(folder.read('results.ndjson')).toBe(before);
  });
});

describe('a run of a batch that is not there', () => {
  it('says how to start anew', async () => {
    folder.write('jobs.ndjson', jobLines([0]));
    await run();
    server.refusals.push({ status: 404, code: 'NOT_FOUND' });
    expect(await run()).toBe(1);
    expect(folder.said()).toMatch(/bat_\S+ is no longer on this server\. To start anew: /);
  });

  it('begins anew by itself where the server closed it before its upload ended', async () => {
    folder.write('jobs.ndjson', jobLines([0]));
    server.refusals.push({ status: 409, code: 'BATCH_CLOSED' });
    expect(await run()).toBe(1);
    expect(folder.said()).toMatch(/BATCH_CLOSED: no\..*The same command again begins anew/);
    expect(await run()).toBe(0);
  });
});

describe('what a run does not write over', () => {
  it('is a file that it does not know', async () => {
    folder.write('jobs.ndjson', jobLines([0]));
    folder.write('results.ndjson', 'dear diary');
    expect(await run()).toBe(1);
    expect(folder.said()).toMatch(/--output: expected a new or an empty file.*10 bytes/);
    expect(folder.read('results.ndjson')).toBe('dear diary');
    expect(existsSync(folder.at('results.ndjson.state.json'))).toBe(false);
    expect(server.asked).toEqual([]);
  });

  it('is its own input', async () => {
    folder.write('jobs.ndjson', jobLines([0]));
    await expect(run({ output: folder.at('jobs.ndjson') })).rejects.toThrow(/another file/);
  });
});
