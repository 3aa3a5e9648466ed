import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { EndCause } from '../../services/worker/deadline.ts';
import {
  type Evidence,
  mayBeReused,
  outcomeOf,
  outcomeOfStep,
} from '../../services/worker/outcome.ts';
import type { GuestReport, StepReport } from '../../services/worker/protocol/conversation.ts';
import { CAUSE, KIND, STAGE } from '../../services/worker/protocol/frame.ts';
import { outcome as outcomeSchema, verdictOf } from '../../shared/contract/result.ts';
import { stepReport as step, usage } from './protocol/frames.ts';

const report = (
  steps: StepReport[],
  over: { refused?: GuestReport['refused']; oomKills?: number } = {},
): GuestReport => ({
  refused: over.refused ?? null,
  steps,
  usage: usage({ oomKills: over.oomKills ?? 0 }),
});
const REFUSED = { stage: STAGE.FILES, errno: 28 };

const of = (over: Partial<Evidence>) =>
  outcomeOf({
    cause: undefined,
    report: undefined,
    causeOfDeath: undefined,
    stepCount: 1,
    ...over,
  });

const CANCELLED: EndCause = { kind: 'cancelled', by: 'operator' };
const cancelled = { kind: 'cancelled', by: 'operator' } as const;
const lost = (cause: string) => ({ kind: 'lost', cause });

describe('how a step ended', () => {
  it.each<[string, Partial<StepReport>, number, unknown]>([
    ['exit code 0', {}, 0, { kind: 'exited', exitCode: 0 }],
    ['another exit code', { code: 3 }, 0, { kind: 'exited', exitCode: 3 }],
    ['a signal', { kind: KIND.SIGNALED, code: 11 }, 0, { kind: 'signaled', signal: 'SIGSEGV' }],
    [
      'SIGKILL of its own making, which is no limit of ours',
      { kind: KIND.SIGNALED, code: 9 },
      0,
      { kind: 'signaled', signal: 'SIGKILL' },
    ],
    [
      'the wall clock',
      { cause: CAUSE.WALL, kind: KIND.SIGNALED, code: 9 },
      0,
      { kind: 'timed_out', limit: 'wall' },
    ],
    [
      'the cpu clock',
      { cause: CAUSE.CPU, kind: KIND.SIGNALED, code: 9 },
      0,
      { kind: 'timed_out', limit: 'cpu' },
    ],
    [
      'too much output',
      { cause: CAUSE.OUTPUT, kind: KIND.SIGNALED, code: 9 },
      0,
      { kind: 'output_limit' },
    ],
    [
      'the wall clock, though it exited with 0 when told',
      { cause: CAUSE.WALL },
      0,
      { kind: 'timed_out', limit: 'wall' },
    ],
    [
      'the wall clock, though the kernel killed for memory too',
      { cause: CAUSE.WALL, kind: KIND.SIGNALED, code: 9 },
      3,
      { kind: 'timed_out', limit: 'wall' },
    ],
    ['memory', { kind: KIND.SIGNALED, code: 9 }, 1, { kind: 'out_of_memory' }],
    ['an exit code after a child was killed for memory', { code: 1 }, 1, { kind: 'out_of_memory' }],
    ['exit code 0, whatever child was killed for memory', {}, 1, { kind: 'exited', exitCode: 0 }],
    [
      'no program',
      { kind: KIND.COULD_NOT_START, stage: STAGE.EXEC, code: 2 },
      0,
      { kind: 'could_not_start', stage: 'exec', errno: 'ENOENT' },
    ],
    [
      'no folder',
      { kind: KIND.COULD_NOT_START, stage: STAGE.CWD, code: 20 },
      0,
      { kind: 'could_not_start', stage: 'cwd', errno: 'ENOTDIR' },
    ],
    [
      'a failed set-up',
      { kind: KIND.COULD_NOT_START, stage: STAGE.SETUP, code: 12 },
      0,
      { kind: 'could_not_start', stage: 'setup', errno: 'ENOMEM' },
    ],
    [
      'a stage nobody knows, which is ours to answer for',
      { kind: KIND.COULD_NOT_START, stage: 99, code: 1 },
      0,
      { kind: 'could_not_start', stage: 'setup', errno: 'EPERM' },
    ],
    [
      'being cancelled',
      { cause: CAUSE.CANCELLED, kind: KIND.SIGNALED, code: 9 },
      0,
      { kind: 'cancelled', by: 'caller' },
    ],
    [
      'being given up',
      { cause: CAUSE.ABORTED, kind: KIND.SIGNALED, code: 9 },
      0,
      lost('worker_lost'),
    ],
  ])('is told by %s', (_, over, oomKills, expected) => {
    expect(outcomeOfStep(step({ ...over, oomKills }))).toEqual(expected);
  });
});

describe('how a job ended', () => {
  it('is how its last step ended', () => {
    const steps = [step(), step({ step: 1, code: 7 })];
    expect(of({ report: report(steps), stepCount: 2 })).toEqual({ kind: 'exited', exitCode: 7 });
  });

  it('is out of memory when the kernel killed, and the last step did not end well', () => {
    const steps = [step({ kind: KIND.SIGNALED, code: 9, oomKills: 1 })];
    expect(of({ report: report(steps, { oomKills: 1 }) })).toEqual({ kind: 'out_of_memory' });
  });

  it('is not out of memory for what was killed in an earlier step', () => {
    const steps = [step({ oomKills: 2 }), step({ step: 1, code: 7 })];
    const end = of({ report: report(steps, { oomKills: 2 }), stepCount: 2 });
    expect(end).toEqual({ kind: 'exited', exitCode: 7 });
  });

  it('is that it could not start when the guest refused it, even if it was cancelled then', () => {
    const refused = { kind: 'could_not_start', stage: 'files', errno: 'ENOSPC' };
    expect(of({ report: report([], { refused: REFUSED }) })).toEqual(refused);
    expect(of({ cause: CANCELLED, report: report([], { refused: REFUSED }) })).toEqual(refused);
  });

  it.each<[string, EndCause | undefined, unknown]>([
    ['nothing is known', undefined, lost('sandbox_lost')],
    ['the guest kept no deadline', { kind: 'unresponsive' }, lost('sandbox_unresponsive')],
    ['the worker lost its lock', { kind: 'lock_lost' }, lost('worker_lost')],
    ['the worker stopped', { kind: 'draining' }, lost('worker_lost')],
    ['it was cancelled', CANCELLED, cancelled],
  ])('without a report is, when %s, %o', (_, cause, expected) => {
    expect(of({ cause })).toEqual(expected);
  });

  it('without a report is out of memory when the kernel ended the whole sandbox for it', () => {
    expect(of({ causeOfDeath: 'memory' })).toEqual({ kind: 'out_of_memory' });
    expect(of({ causeOfDeath: 'memory', cause: CANCELLED })).toEqual(cancelled);
  });

  it('without a report is lost by the program when the kernel of its own that it had failed', () => {
    const crashed = of({ causeOfDeath: 'crash' });
    expect(crashed).toEqual(lost('sandbox_crashed'));
    expect(verdictOf(crashed)).toEqual({ fault: 'program', ran: 'yes', retryable: false });
    expect(of({ causeOfDeath: 'crash', cause: CANCELLED })).toEqual(cancelled);
  });

  it('is never guessed from a report without any step', () => {
    expect(of({ report: report([]) })).toEqual(lost('sandbox_lost'));
  });
});

describe('the first cause', () => {
  it('is the end of the program when it had ended by itself before the cancellation reached it', () => {
    for (const last of [
      step(),
      step({ code: 2 }),
      step({ kind: KIND.SIGNALED, code: 6 }),
      step({ cause: CAUSE.WALL, kind: KIND.SIGNALED, code: 9 }),
      step({ kind: KIND.COULD_NOT_START, stage: STAGE.EXEC, code: 2 }),
    ]) {
      const alone = of({ report: report([last]) });
      expect(of({ cause: CANCELLED, report: report([last]) })).toEqual(alone);
      expect(of({ cause: { kind: 'draining' }, report: report([last]) })).toEqual(alone);
    }
  });

  it('is the cancellation when it ended the step', () => {
    const steps = [step({ cause: CAUSE.CANCELLED, kind: KIND.SIGNALED, code: 9 })];
    expect(of({ cause: CANCELLED, report: report(steps) })).toEqual(cancelled);
  });

  it('is the cancellation when it came between two steps', () => {
    expect(of({ cause: CANCELLED, report: report([step()]), stepCount: 2 })).toEqual(cancelled);
  });

  it('is a failed step, not the cancellation that came after it', () => {
    const failed = report([step({ code: 1 })]);
    expect(of({ cause: CANCELLED, report: failed, stepCount: 2 })).toEqual({
      kind: 'exited',
      exitCode: 1,
    });
  });

  it('is the drain when it came between two steps: what did not run to its end is lost', () => {
    const between = { report: report([step()]), stepCount: 2 };
    for (const kind of ['draining', 'lock_lost', 'unresponsive'] as const) {
      expect(of({ cause: { kind }, ...between }).kind).toBe('lost');
    }
  });

  it('never lets a job with steps that did not run pass for one that ended well', () => {
    expect(of({ report: report([step()]), stepCount: 2 })).not.toEqual({
      kind: 'exited',
      exitCode: 0,
    });
  });
});

describe('every evidence', () => {
  const anyStep = fc.record({
    step: fc.constant(0),
    cause: fc.nat(7),
    kind: fc.nat(2),
    code: fc.nat(255),
    stage: fc.nat(6),
    stdoutTotal: fc.nat(),
    stderrTotal: fc.nat(),
    wallUs: fc.nat(),
    cpuUs: fc.nat(),
    oomKills: fc.nat(2),
  });
  const anyCause = fc.constantFrom<EndCause | undefined>(
    undefined,
    CANCELLED,
    { kind: 'unresponsive' },
    { kind: 'lock_lost' },
    { kind: 'draining' },
  );

  it('makes an outcome of the contract, and the platform is to blame only where it failed', () => {
    fc.assert(
      fc.property(
        anyCause,
        fc.array(anyStep, { maxLength: 3 }),
        fc.option(fc.record({ stage: fc.nat(6), errno: fc.nat(200) })),
        fc.nat(2),
        (cause, steps, refused, oomKills) => {
          const evidence = {
            cause,
            causeOfDeath: oomKills > 1 ? ('memory' as const) : undefined,
            stepCount: 3,
            report: report(steps, { refused: steps.length === 0 ? refused : null, oomKills }),
          };
          const end = outcomeOf(evidence);
          expect(outcomeSchema.parse(end)).toEqual(end);
          if (end.kind === 'cancelled' && cause?.kind !== 'cancelled') {
            expect(steps.at(-1)?.cause).toBe(CAUSE.CANCELLED);
          }
        },
      ),
      { numRuns: 1000 },
    );
  });
});

describe('whether a sandbox may run another job of its group', () => {
  const exited = { kind: 'exited', exitCode: 1 } as const;
  const whole = report([step({ code: 1 })]);

  it.each([
    ['an exit, whatever the code', exited, true],
    ['a signal that the program got', { kind: 'signaled', signal: 'SIGSEGV' }, true],
    ['a time limit', { kind: 'timed_out', limit: 'wall' }, false],
    ['too much memory', { kind: 'out_of_memory' }, false],
    ['too much output', { kind: 'output_limit' }, false],
    [
      'a program that could not start',
      { kind: 'could_not_start', stage: 'exec', errno: 'ENOENT' },
      false,
    ],
    ['a cancellation', { kind: 'cancelled', by: 'caller' }, false],
    ['a loss', { kind: 'lost', cause: 'sandbox_lost' }, false],
  ] as const)('after %s', (_, outcome, may) => {
    expect(mayBeReused(outcome, { cause: undefined, report: whole })).toBe(may);
  });

  it('is no without a report, after a request to end however late, and after a kill for memory', () => {
    expect(mayBeReused(exited, { cause: undefined, report: undefined })).toBe(false);
    expect(mayBeReused(exited, { cause: CANCELLED, report: whole })).toBe(false);
    const killed = report([step({ code: 1 })], { oomKills: 1 });
    expect(mayBeReused(exited, { cause: undefined, report: killed })).toBe(false);
  });
});
