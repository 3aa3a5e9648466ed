import { createHash } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { createDeadline, type Deadline } from '../../services/worker/deadline.ts';
import { artifactOf, execute, REPORT_GRACE_MS } from '../../services/worker/execution.ts';
import { CAUSE, SKIPPED, TO_GUEST } from '../../services/worker/protocol/frame.ts';
import { GuestLostError, GuestSession } from '../../services/worker/protocol/session.ts';
import type { Sandbox } from '../../services/worker/sandbox/sandbox.ts';
import type { JobSpec } from '../../shared/contract/spec.ts';
import { steadyNowMs } from '../../shared/steady-clock.ts';
import {
  artifact,
  artifactData,
  artifactSkipped,
  done,
  hello,
  intsOf,
  output,
  refused,
  started,
  stepEnd,
  Written,
} from './protocol/frames.ts';
import { aSpec } from './spec.ts';

const NO_BLOBS = new Map<string, Buffer>();

/** A sandbox whose guest is this test. */
function aSandbox() {
  const written = new Written();
  const session = new GuestSession(written);
  session.receive(hello());
  const gone = { is: false };
  const sandbox: Sandbox = {
    id: 'id',
    nonce: 'nonce',
    uid: 1,
    shape: { image: 'base', runtime: 'runc', memoryMb: 1, cpus: 1, processes: 1, workspaceMb: 1 },
    imageDigest: 'sha256:x',
    createdAtMs: steadyNowMs(),
    session,
    closed: new Promise(() => {}),
    causeOfDeath: async () => undefined,
    end: async () => {},
    disconnect() {
      gone.is = true;
      session.fail(new GuestLostError('the stream to the guest closed'));
    },
  };
  return { sandbox, session, written, gone };
}

async function run(
  frames: readonly Buffer[],
  over: Partial<JobSpec> = {},
  deadline: Deadline = createDeadline(),
) {
  const { sandbox, session } = aSandbox();
  const execution = execute(sandbox, aSpec(over), {
    deadline,
    streamBytes: 10_000,
    blobs: NO_BLOBS,
  });
  for (const frame of frames) session.receive(frame);
  session.fail(new GuestLostError('the stream to the guest closed'));
  return execution;
}

const LIMITS = aSpec().limits;

describe('an execution', () => {
  it('gathers the output of every step apart, and when the first one started', async () => {
    const before = Date.now();
    const steps = ['one', 'two'].map((name) => ({ name, argv: ['x'], stdin: null, timeoutMs: 1 }));
    const execution = await run(
      [
        started(0),
        output('a'),
        stepEnd({ step: 0, stdoutTotal: 1 }),
        started(1),
        output('b'),
        stepEnd({ step: 1, stdoutTotal: 100 }),
        done(),
      ],
      { steps },
    );
    expect(execution.error).toBeUndefined();
    expect(execution.report?.steps).toHaveLength(2);
    expect(execution.outputs.map(({ stdout }) => [stdout.text, stdout.cutAt])).toEqual([
      ['a', null],
      ['b', 1],
    ]);
    expect(execution.startedAtMs).toBeGreaterThanOrEqual(before);
  });

  it('never started when the guest refused it', async () => {
    const execution = await run([refused(2, 28), done()]);
    expect(execution).toMatchObject({ startedAtMs: undefined, outputs: [], error: undefined });
  });

  it('keeps the output so far of a guest that was lost, and says why', async () => {
    const execution = await run([started(0), output('so far')]);
    expect(execution.report).toBeUndefined();
    expect(execution.error).toBeInstanceOf(GuestLostError);
    expect(execution.outputs[0]?.stdout.text).toBe('so far');
  });

  it('keeps no artifact of a guest that was lost: it may be half of one', async () => {
    const execution = await run([started(0), stepEnd(), artifact('a'), artifactData('x')]);
    expect(execution.artifacts).toEqual([]);
  });

  it('keeps artifacts with their digest, and names those that it does not', async () => {
    const execution = await run([
      started(0),
      stepEnd(),
      artifact('dir/a b'),
      artifactData('one '),
      artifactData('two'),
      artifact('cut'),
      artifactData('half'),
      artifactSkipped('cut', SKIPPED.TOO_LARGE),
      artifactSkipped('link', SKIPPED.NOT_REGULAR),
      artifact('bad\nname'),
      done(),
    ]);
    expect(execution.artifacts).toMatchObject([
      {
        path: 'dir/a b',
        sha256: createHash('sha256').update('one two').digest('hex'),
      },
    ]);
    expect(execution.artifacts[0]?.content.toString()).toBe('one two');
    expect(execution.skipped).toEqual([
      { path: 'cut', reason: 'too_large' },
      { path: 'link', reason: 'not_regular' },
      { path: 'bad\nname', reason: 'unreadable' },
    ]);
  });

  it.each<[string, Buffer[]]>([
    ['output', [started(0), output('x'.repeat(LIMITS.stdoutBytes + 1))]],
    [
      'artifact bytes',
      [started(0), stepEnd(), artifact('a'), artifactData(Buffer.alloc(LIMITS.artifactBytes + 1))],
    ],
    [
      'artifacts',
      [started(0), stepEnd(), ...Array.from({ length: 5000 }, (_, n) => artifact(`${n}`))],
    ],
  ])('breaks off with a guest that sends more %s than it may', async (_, frames) => {
    const { sandbox, session } = aSandbox();
    const execution = execute(sandbox, aSpec(), {
      deadline: createDeadline(),
      streamBytes: 10_000,
      blobs: NO_BLOBS,
    });
    for (const frame of frames) session.receive(frame);
    session.receive(done());
    session.fail(new GuestLostError('the stream to the guest closed'));
    expect((await execution).error?.name).toBe('ProtocolError');
  });

  it('names no more skipped files than a result should hold', async () => {
    const many = Array.from({ length: 500 }, (_, n) => artifactSkipped(`${n}`, 0));
    const execution = await run([started(0), stepEnd(), ...many, done()]);
    expect(execution.skipped.length).toBeLessThanOrEqual(100);
  });

  it.each([
    ['cancelled', { kind: 'cancelled', by: 'caller' } as const, CAUSE.CANCELLED],
    ['given up', { kind: 'draining' } as const, CAUSE.ABORTED],
  ])('that is %s tells the guest so, and takes its report', async (_, cause, number) => {
    const { sandbox, session, written, gone } = aSandbox();
    const deadline = createDeadline();
    const execution = execute(sandbox, aSpec(), { deadline, streamBytes: 1000, blobs: NO_BLOBS });
    session.receive(started(0));
    deadline.end(cause);
    const kill = written.frames.find(({ type }) => type === TO_GUEST.KILL);
    expect(intsOf(kill?.payload ?? Buffer.alloc(0))).toEqual([number]);
    session.receive(Buffer.concat([stepEnd({ cause: number, kind: 1, code: 9 }), done()]));
    expect((await execution).report?.steps[0]?.cause).toBe(number);
    await turn();
    expect(gone.is).toBe(false);
  });

  it('that was cancelled before it began is ended as soon as it has begun', async () => {
    const { sandbox, session, written } = aSandbox();
    const deadline = createDeadline();
    deadline.end({ kind: 'cancelled', by: 'caller' });
    const execution = execute(sandbox, aSpec(), { deadline, streamBytes: 1000, blobs: NO_BLOBS });
    expect(written.types().slice(-2)).toEqual([TO_GUEST.RUN, TO_GUEST.KILL]);
    session.fail(new GuestLostError('x'));
    await execution;
  });

  it('drops a guest that does not report when told to end', async () => {
    const { sandbox, gone } = aSandbox();
    const deadline = createDeadline();
    const execution = execute(sandbox, aSpec(), { deadline, streamBytes: 1000, blobs: NO_BLOBS });
    deadline.end({ kind: 'cancelled', by: 'caller' });
    expect((await execution).error).toBeInstanceOf(GuestLostError);
    expect(gone.is).toBe(true);
  });

  it('is unresponsive when a guest does not report past all its limits', async () => {
    const { sandbox } = aSandbox();
    const deadline = createDeadline();
    vi.useFakeTimers();
    const execution = execute(sandbox, aSpec({ timeoutMs: 1 }), {
      deadline,
      streamBytes: 1,
      blobs: NO_BLOBS,
    });
    await vi.advanceTimersByTimeAsync(1 + REPORT_GRACE_MS + 5_000);
    vi.useRealTimers();
    expect((await execution).report).toBeUndefined();
    expect(deadline.cause).toEqual({ kind: 'unresponsive' });
  });
});

describe('the address of an artifact', () => {
  it('escapes each component of its path, and keeps the slashes', () => {
    const kept = { path: 'a b/ü?#%/c', content: Buffer.from('x'), sha256: 's' };
    expect(artifactOf('job_1', kept)).toEqual({
      path: kept.path,
      bytes: 1,
      sha256: 's',
      url: '/v1/jobs/job_1/artifacts/a%20b/%C3%BC%3F%23%25/c',
    });
  });
});
