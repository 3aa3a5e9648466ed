import { describe, expect, it } from 'vitest';
import type { CapturedStream } from '../../services/worker/capture.ts';
import type { Execution, StepOutput } from '../../services/worker/execution.ts';
import type { StepReport } from '../../services/worker/protocol/conversation.ts';
import { CAUSE, KIND } from '../../services/worker/protocol/frame.ts';
import { type EndedJob, resultOf } from '../../services/worker/result.ts';
import { jobResult, type Outcome, verdictOf } from '../../shared/contract/result.ts';
import type { JobRecord } from '../../shared/queue/job-record.ts';
import { everyOutcome } from '../shared/contract/outcomes.ts';
import { stepReport, usage } from './protocol/frames.ts';
import { aSpec } from './spec.ts';

const T0 = 1_700_000_000_000;
const record: JobRecord = {
  tenant: 'default',
  state: 'running',
  lane: 'interactive',
  acceptedAt: T0,
  expiresAt: T0 + 60_000,
  retainMs: 1000,
  budgetMs: 1000,
  image: 'base',
  runtime: 'runc',
  labels: { a: 'b' },
  fence: 1,
  starts: 1,
  handedBack: 0,
  takenAt: T0 + 100,
  worker: 'w1',
};
const stream = (text: string, cutAt: number | null = null): CapturedStream => ({
  text,
  encoding: 'utf8',
  totalBytes: cutAt === null ? text.length : 999,
  cutAt,
});
const output = (stdout = stream('out')): StepOutput => ({ stdout, stderr: stream('err') });

function executionOf(steps: StepReport[] | undefined, over: Partial<Execution> = {}): Execution {
  return {
    report: steps && { refused: null, steps, usage: usage({ cpuUs: 2500 }) },
    outputs: (steps ?? [stepReport()]).map(() => output()),
    artifacts: [],
    skipped: [],
    startedAtMs: T0 + 150,
    error: undefined,
    causeOfDeath: undefined,
    ...over,
  };
}
const EXITED: Outcome = { kind: 'exited', exitCode: 0 };
const ended = (over: Partial<EndedJob> = {}) =>
  resultOf({
    id: 'job_1',
    record,
    start: 1,
    spec: aSpec(),
    imageDigest: 'sha256:abc',
    worker: 'w1',
    execution: executionOf([stepReport()]),
    outcome: EXITED,
    finishedAtMs: T0 + 400,
    ...over,
  });

describe('a result', () => {
  it('holds what ran, for how long and by whom', () => {
    const content = Buffer.from('x');
    const execution = executionOf([stepReport({ wallUs: 1500 })], {
      artifacts: [{ path: 'a b', content, sha256: 's' }],
      skipped: [{ path: 'big', reason: 'too_large' }],
    });
    expect(ended({ execution })).toMatchObject({
      state: 'done',
      outcome: EXITED,
      fault: 'none',
      ran: 'yes',
      exitCode: 0,
      stdout: 'out',
      stderr: 'err',
      isTruncated: false,
      artifacts: [{ path: 'a b', bytes: 1, url: '/v1/jobs/job_1/artifacts/a%20b' }],
      artifactsSkipped: [{ path: 'big', reason: 'too_large' }],
      usage: { wallMs: 1.5, cpuMs: 2.5, peakMemoryBytes: 4096, peakProcesses: 1 },
      timing: {
        queuedMs: 100,
        setupMs: 50,
        runMs: 250,
        startedAt: new Date(T0 + 150).toISOString(),
      },
      attempt: 1,
      worker: 'w1',
      image: 'sha256:abc',
      labels: { a: 'b' },
    });
  });

  it.each(everyOutcome.map((outcome) => [JSON.stringify(outcome), outcome] as const))(
    'is one of the contract for %s, with a report and without',
    (_, outcome) => {
      for (const execution of [
        executionOf([stepReport()]),
        executionOf(undefined),
        executionOf(undefined, { outputs: [], startedAtMs: undefined }),
      ]) {
        for (const spec of [aSpec(), aSpec({ hasSteps: true, parseJson: true })]) {
          const result = ended({ outcome, execution, spec });
          expect(jobResult.parse(JSON.parse(JSON.stringify(result)))).toEqual(
            JSON.parse(JSON.stringify(result)),
          );
          expect(result.fault).toBe(verdictOf(outcome).fault);
        }
      }
    },
  );

  it('says that it ran by what was seen: unknown when the guest was lost before it could say', () => {
    const lost: Outcome = { kind: 'lost', cause: 'sandbox_lost' };
    const unseen = executionOf(undefined, { outputs: [], startedAtMs: undefined });
    expect(ended({ outcome: lost, execution: unseen }).ran).toBe('unknown');
    expect(ended({ outcome: lost, execution: executionOf(undefined) }).ran).toBe('yes');
    const refused = executionOf([], { startedAtMs: undefined });
    expect(ended({ outcome: { kind: 'cancelled', by: 'caller' }, execution: refused }).ran).toBe(
      'no',
    );
  });

  it('keeps partial output, whatever ended the job', () => {
    for (const outcome of everyOutcome) {
      expect(ended({ outcome, execution: executionOf(undefined) }).stdout).toBe('out');
    }
  });

  it('has no negative time when clocks disagree', () => {
    const execution = executionOf([stepReport()], { startedAtMs: T0 - 5000 });
    expect(jobResult.safeParse(ended({ execution, finishedAtMs: T0 - 9000 })).success).toBe(true);
  });
});

describe('a result of steps', () => {
  const steps = ['one', 'two', 'three'].map((name) => ({
    name,
    argv: ['x'],
    stdin: null,
    timeoutMs: 1,
  }));
  const spec = aSpec({ hasSteps: true, steps });
  const failed = stepReport({ step: 1, code: 3 });

  it('names each that ran, with its own end and output', () => {
    const result = ended({
      spec,
      execution: executionOf([stepReport(), failed]),
      outcome: { kind: 'exited', exitCode: 3 },
    });
    expect(result.steps).toMatchObject([
      { name: 'one', outcome: EXITED, exitCode: 0, stdout: 'out' },
      { name: 'two', outcome: { kind: 'exited', exitCode: 3 }, exitCode: 3, wallMs: 1, cpuMs: 0.5 },
    ]);
  });

  it('leaves a step that ended well its own end when the job was cancelled after it', () => {
    const outcome: Outcome = { kind: 'cancelled', by: 'caller' };
    const result = ended({ spec, execution: executionOf([stepReport()]), outcome });
    expect(result.steps).toMatchObject([{ name: 'one', outcome: EXITED, exitCode: 0 }]);
  });

  it('gives the step that decided the outcome of the job', () => {
    const killed = stepReport({ step: 1, kind: KIND.SIGNALED, code: 9 });
    const outcome: Outcome = { kind: 'out_of_memory' };
    const result = ended({ spec, execution: executionOf([stepReport(), killed]), outcome });
    expect(result.steps?.map(({ outcome: { kind } }) => kind)).toEqual(['exited', 'out_of_memory']);
    const late = stepReport({ step: 1, cause: CAUSE.WALL, kind: KIND.SIGNALED, code: 9 });
    const timedOut = ended({
      spec,
      execution: executionOf([stepReport(), late]),
      outcome: { kind: 'timed_out', limit: 'wall' },
    });
    expect(timedOut).toMatchObject({ timedOut: true, exitCode: 124 });
  });

  it('ran, though its last step could not start', () => {
    const last = stepReport({ step: 1, kind: KIND.COULD_NOT_START, code: 2, stage: 4 });
    const outcome: Outcome = { kind: 'could_not_start', stage: 'exec', errno: 'ENOENT' };
    expect(ended({ spec, execution: executionOf([stepReport(), last]), outcome }).ran).toBe('yes');
  });
});

describe('parsed output', () => {
  const parse = (stdout: StepOutput['stdout']) => {
    const execution = executionOf([stepReport()], { outputs: [output(stdout)] });
    const { json, parseJsonError } = ended({ spec: aSpec({ parseJson: true }), execution });
    return { json, parseJsonError };
  };

  it.each<[string, unknown]>([
    ['{"a":[1]}\n', { a: [1] }],
    ['null', null],
    ['0', 0],
    ['""', ''],
  ])('of %j is what it says', (text, json) => {
    expect(parse(stream(text))).toEqual({ json, parseJsonError: undefined });
  });

  it.each([
    ['that is no JSON', stream('{')],
    ['that is empty', stream('')],
    ['that was cut', stream('{"a":1}', 3)],
    ['that is not text', { ...stream('/w=='), encoding: 'base64' } as const],
  ])('%s is why it could not be parsed', (_, stdout) => {
    const { json, parseJsonError } = parse(stdout as StepOutput['stdout']);
    expect(json).toBeUndefined();
    expect(parseJsonError).toMatch(/\S/);
  });

  it('that is nested too deeply to be printed again costs the result nothing else', () => {
    const deep = parse(stream(`${'['.repeat(5000)}${']'.repeat(5000)}`));
    expect(deep.json).toBeUndefined();
    expect(deep.parseJsonError).toContain('nested');
    const brackets = JSON.stringify('['.repeat(5000));
    expect(parse(stream(brackets)).json).toBe('['.repeat(5000));
  });

  it('has nothing of what is masked, though an escape hid it in the text', () => {
    const spec = aSpec({ parseJson: true, redact: [{ pattern: 'secret', replacement: '#' }] });
    const stdout = stream('{"\\u0073ecret": ["a \\u0073ecret", 1]}');
    const execution = executionOf([stepReport()], { outputs: [output(stdout)] });
    expect(ended({ spec, execution }).json).toEqual({ '#': ['a #', 1] });
  });

  it('is there only when it was asked for', () => {
    expect(ended()).not.toHaveProperty('json');
    expect(ended()).not.toHaveProperty('parseJsonError');
  });
});
