import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createCapture } from '../../services/worker/capture.ts';
import type { StepCaptures } from '../../services/worker/execution.ts';
import { LiveOutput, LiveOutputs } from '../../services/worker/live.ts';
import type { JobSpec } from '../../shared/contract/spec.ts';
import { keys } from '../../shared/queue/keys.ts';
import { followJob, type LivePiece, readLive } from '../../shared/queue/live.ts';
import { admitted, begin, begun, settle } from '../shared/queue/job.ts';
import {
  eventually,
  silent,
  startRedis,
  type TestRedis,
  withRedis,
} from '../shared/queue/redis.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

const CAP = 200_000;
/** What comes within one gathering time, and the write after it. */
const soon = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 120));

/** A running job whose program is this test. */
async function aRun(from: TestRedis = server) {
  const id = await admitted(from.redis);
  const start = await begun(from.redis, id);
  const live = new LiveOutput({ redis: from.redis, id, start, keepMs: 60_000, log: silent });
  const steps: StepCaptures[] = [];
  const startStep = (): void => {
    steps.push({ stdout: createCapture(CAP), stderr: createCapture(CAP) });
    live.onOutput(steps);
  };
  startStep();
  return {
    id,
    start,
    live,
    startStep,
    write(bytes: Buffer | string, stream: 'stdout' | 'stderr' = 'stdout', part = 'head' as const) {
      steps.at(-1)?.[stream].add(part, Buffer.from(bytes));
      live.onOutput(steps);
    },
    tail(bytes: Buffer | string) {
      steps.at(-1)?.stdout.add('tail', Buffer.from(bytes));
      live.onOutput(steps);
    },
    async pieces(): Promise<LivePiece[]> {
      const all: LivePiece[] = [];
      for (;;) {
        const view = await readLive(from.redis, { id, start, index: all.length });
        if (view === undefined || view.pieces.length === 0) return all;
        all.push(...view.pieces);
      }
    },
    isWritten: async () => (await from.redis.exists(keys.live(id, start))) === 1,
  };
}

const textOf = (pieces: LivePiece[], step = 0, stream = 'stdout'): string => {
  const own = pieces.filter((piece) => piece.step === step && piece.stream === stream);
  let at = 0;
  for (const { offset, bytes } of own) {
    expect(offset).toBe(at);
    at += bytes.length;
  }
  return Buffer.concat(own.map(({ bytes }) => bytes)).toString();
};

describe('the output of a start that nobody follows', () => {
  it('costs Redis nothing', async () => {
    const run = await aRun();
    run.write('unseen');
    await soon();
    run.live.close();
    await soon();
    expect(await run.isWritten()).toBe(false);
  });
});

describe('the output of a start that somebody follows', () => {
  it('holds what was captured before, and then what comes', async () => {
    const run = await aRun();
    run.write('before ');
    run.write('error', 'stderr');
    run.live.open();
    await eventually('the beginning', async () => textOf(await run.pieces()) === 'before ');
    run.write('after');
    await eventually('the rest', async () => textOf(await run.pieces()) === 'before after');
    expect(textOf(await run.pieces(), 0, 'stderr')).toBe('error');
    run.live.close();
  });

  it('is written in few pieces, however many came', async () => {
    const run = await aRun();
    run.live.open();
    for (let at = 0; at < 100_000; at++) run.write('x');
    await eventually('all of it', async () => textOf(await run.pieces()).length === 100_000);
    expect((await run.pieces()).length).toBeLessThan(20);
    run.live.close();
  });

  it('never splits a character between two pieces', async () => {
    const run = await aRun();
    run.live.open();
    const text = Buffer.from('añ日🙂'.repeat(8));
    for (const byte of text) {
      run.write(Buffer.from([byte]));
      await new Promise((resolve) => setTimeout(resolve, 12));
    }
    await eventually('all of it', async () => textOf(await run.pieces()) === text.toString());
    const pieces = await run.pieces();
    expect(pieces.length).toBeGreaterThan(3);
    for (const { bytes } of pieces) expect(bytes.toString()).not.toContain('\ufffd');
    run.live.close();
  });

  it('keeps the tail of a running step back: it may have no place yet', async () => {
    const run = await aRun();
    run.live.open();
    run.write('head');
    run.tail('tail');
    await soon();
    expect(textOf(await run.pieces())).toBe('head');
    run.startStep();
    await eventually('the tail', async () => textOf(await run.pieces()) === 'headtail');
    run.live.close();
  });

  it('goes on with the next step when all of the one before was sent', async () => {
    const run = await aRun();
    run.write('one\xff');
    run.write('err', 'stderr');
    run.startStep();
    run.write('two');
    run.live.open();
    await eventually('both', async () => textOf(await run.pieces(), 1) === 'two');
    const pieces = await run.pieces();
    expect(textOf(pieces)).toBe('one\xff');
    expect(textOf(pieces, 0, 'stderr')).toBe('err');
    expect(pieces.map(({ step }) => step)).toEqual([0, 0, 1]);
    run.live.close();
  });

  it('ends behind a step of which bytes may be missing: their place is known at the end', async () => {
    const run = await aRun();
    run.live.open();
    run.write(Buffer.alloc(CAP / 2, 'h'));
    await eventually('the head', async () => textOf(await run.pieces()).length === CAP / 2);
    run.tail(Buffer.alloc(CAP / 2, 't'));
    run.startStep();
    run.write('two');
    await soon();
    const pieces = await run.pieces();
    expect(textOf(pieces).length).toBe(CAP / 2);
    expect(textOf(pieces, 1)).toBe('');
    run.live.close();
  });

  it('is gone when the start is over, and no write brings it back', async () => {
    const run = await aRun();
    run.live.open();
    run.write('x');
    await eventually('the list', run.isWritten);
    await settle(server.redis, run.id, run.start);
    run.write('y');
    run.live.close();
    run.write('z');
    await soon();
    expect(await run.isWritten()).toBe(false);
  });

  it('is no more written once another worker has begun the job', async () => {
    const run = await aRun();
    run.live.open();
    await begun(server.redis, run.id, 'w2');
    run.write('late');
    await soon();
    expect(await run.isWritten()).toBe(false);
    run.live.close();
  });
});

describe('with a Redis that fails', () => {
  it('one write at a time waits, whatever the job writes meanwhile', async () => {
    await withRedis({}, async (own) => {
      const run = await aRun(own);
      const admin = await own.connect();
      run.live.open();
      await admin.client('PAUSE', 1_500, 'WRITE');
      const before = own.redis.commandQueue?.length ?? 0;
      for (let at = 0; at < 20; at++) {
        run.write(Buffer.alloc(5_000, 'x'));
        await new Promise((resolve) => setTimeout(resolve, 30));
      }
      expect((own.redis.commandQueue?.length ?? 0) - before).toBeLessThanOrEqual(1);
      await eventually('all of it', async () => textOf(await run.pieces()).length === 100_000);
      run.live.close();
    });
  });

  it('a refused write ends it, and the job goes on', async () => {
    const run = await aRun();
    await server.redis.set(keys.live(run.id, run.start), 'not a list');
    run.live.open();
    run.write('x');
    await soon();
    run.write('y');
    await soon();
    expect(await server.redis.get(keys.live(run.id, run.start))).toBe('not a list');
    run.live.close();
  });
});

describe('the outputs of the jobs that run here', () => {
  const captured = (text: string): StepCaptures[] => {
    const stdout = createCapture(CAP);
    stdout.add('head', Buffer.from(text));
    return [{ stdout, stderr: createCapture(CAP) }];
  };
  async function aStart(isFollowed: boolean, redact: JobSpec['redact'] = []) {
    const id = await admitted(server.redis);
    if (isFollowed) await followJob(server.redis, id);
    const started = await begin(server.redis, id);
    if (started.kind !== 'started') throw new Error(`not started: ${started.kind}`);
    const outputs = new LiveOutputs({ redis: server.redis, log: silent });
    const watcher = outputs.watch(id, started, { redact });
    const isWritten = async () => (await server.redis.exists(keys.live(id, started.start))) === 1;
    return { id, outputs, watcher, isWritten };
  }

  it('are open from the start for a job that was followed before', async () => {
    const { watcher, isWritten } = await aStart(true);
    watcher.onOutput(captured('x'));
    await eventually('the list', isWritten);
    watcher.close();
    await eventually('its end', async () => !(await isWritten()));
  });

  it('stay closed where something is to be masked: a secret could come in two pieces', async () => {
    const { id, outputs, watcher, isWritten } = await aStart(true, [
      { pattern: 'x', replacement: '' },
    ]);
    watcher.onOutput(captured('x'));
    outputs.follow(id);
    await soon();
    expect(await isWritten()).toBe(false);
    watcher.close();
  });

  it('are opened by their job’s id, and by no other', async () => {
    const { id, outputs, watcher, isWritten } = await aStart(false);
    watcher.onOutput(captured('x'));
    outputs.follow('job_another');
    await soon();
    expect(await isWritten()).toBe(false);
    outputs.follow(id);
    await eventually('the list', isWritten);
    watcher.close();
    outputs.follow(id);
    await soon();
    expect(await isWritten()).toBe(false);
  });
});
