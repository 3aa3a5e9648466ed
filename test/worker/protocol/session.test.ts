import { describe, expect, it } from 'vitest';
import type { GuestReport, GuestSink } from '../../../services/worker/protocol/conversation.ts';
import { ProtocolError } from '../../../services/worker/protocol/decoder.ts';
import {
  CAUSE,
  encodeFrame,
  FROM_GUEST,
  TO_GUEST,
} from '../../../services/worker/protocol/frame.ts';
import { GuestLostError } from '../../../services/worker/protocol/session.ts';
import {
  artifact,
  artifactData,
  artifactSkipped,
  done,
  frame,
  hello,
  intsOf,
  output,
  refused,
  started,
  stepEnd,
  stepReport,
  usage,
  want,
} from './frames.ts';
import { JOB, newSession, running } from './sessions.ts';

const settledOf = (report: Promise<GuestReport>): Promise<GuestReport | Error> =>
  report.catch((error: Error) => error);

describe('a session', () => {
  it('is ready once the guest has said HELLO, and not before', async () => {
    const { session } = newSession({ isReady: false });
    expect(session.isReady).toBe(false);
    session.receive(hello());
    await session.ready;
    expect(session.isReady).toBe(true);
  });

  it.each([
    ['another protocol', hello(1)],
    ['something else first', started()],
    ['a HELLO that is too short', encodeFrame(FROM_GUEST.HELLO, Buffer.alloc(3))],
    ['bytes that are no frame', Buffer.from('panic: not a frame')],
  ])('is broken by %s instead of HELLO', async (_, bytes) => {
    const { session } = newSession({ isReady: false });
    session.receive(bytes);
    await expect(session.ready).rejects.toThrow(ProtocolError);
    expect(session.isReady).toBe(false);
  });

  it('is broken by a guest that speaks without a job', () => {
    for (const bytes of [hello(), started(), done(), output('x')]) {
      const { session } = newSession();
      session.receive(bytes);
      expect(session.isReady).toBe(false);
    }
  });

  it('runs a job: what came in order is heard in order, and the report holds it all', async () => {
    const { say, report, heard } = running([null, null]);
    say(started(0), output('out'), output('err', FROM_GUEST.STDERR));
    say(output('t', FROM_GUEST.STDOUT_TAIL), output('u', FROM_GUEST.STDERR_TAIL));
    say(stepEnd({ step: 0 }), started(1), stepEnd({ step: 1, code: 7 }));
    say(artifact('a/b'), artifactData('x'), artifactData('y'), artifactSkipped('c', 2), done());
    expect(await report).toEqual({
      refused: null,
      steps: [stepReport({ step: 0 }), stepReport({ step: 1, code: 7 })],
      usage: usage(),
    });
    expect(heard).toEqual([
      ['started', 0],
      [0, 'stdout', 'head', 'out'],
      [0, 'stderr', 'head', 'err'],
      [0, 'stdout', 'tail', 't'],
      [0, 'stderr', 'tail', 'u'],
      ['started', 1],
      ['artifact', 'a/b'],
      ['data', 'x'],
      ['data', 'y'],
      ['skipped', 'c', 2],
    ]);
  });

  it('reports a job that could not be laid out', async () => {
    const { say, report } = running();
    say(refused(2, 28), done());
    expect(await report).toMatchObject({ refused: { stage: 2, errno: 28 }, steps: [] });
  });

  const two = [null, null];
  it.each<[string, Buffer[], (null | Buffer)[]?]>([
    ['HELLO again', [hello()]],
    ['the end of a step that did not start', [stepEnd()]],
    ['the end of another step', [started(0), stepEnd({ step: 1 })], two],
    ['a step that ends twice', [started(0), stepEnd(), stepEnd()]],
    ['a second step before the first', [started(1)], two],
    ['a step that starts twice', [started(0), started(0)]],
    ['a step within a step', [started(0), started(1)], two],
    ['a step that the job does not have', [started(0), stepEnd(), started(1)]],
    ['a step after one that failed', [started(0), stepEnd({ code: 1 }), started(1)], two],
    ['a step after the refusal', [refused(1, 1), started(0)]],
    ['a refusal after a step', [started(0), stepEnd(), refused(1, 1)]],
    ['two refusals', [refused(1, 1), refused(1, 1)]],
    ['DONE without a step', [done()]],
    ['DONE within a step', [started(0), done()]],
    ['DONE before every step has run, though none failed', [started(0), stepEnd(), done()], two],
    ['output before a step', [output('x')]],
    ['output after a step', [started(0), stepEnd(), output('x')]],
    ['a tail outside a step', [output('x', FROM_GUEST.STDERR_TAIL)]],
    ['stdin wanted outside a step', [want(1)], [Buffer.from('x')]],
    ['stdin wanted where none is given', [started(0), want(1)]],
    ['an artifact within a step', [started(0), artifact('a')]],
    ['a step after an artifact', [started(0), stepEnd(), artifact('a'), started(1)], two],
    ['content without an artifact', [started(0), stepEnd(), artifactData('x')]],
    [
      'content after a skipped artifact',
      [started(0), stepEnd(), artifact('a'), artifactSkipped('a', 2), artifactData('x')],
    ],
    [
      'a name that is not UTF-8',
      [started(0), stepEnd(), encodeFrame(FROM_GUEST.ARTIFACT, Buffer.from([0xff]))],
    ],
    ['too few integers', [frame(FROM_GUEST.STARTED)]],
    ['too many integers', [frame(FROM_GUEST.STARTED, 0, 0)]],
    ['an integer out of range', [encodeFrame(FROM_GUEST.STARTED, Buffer.alloc(8, 255))]],
    [
      'a reason without its integer',
      [started(0), stepEnd(), encodeFrame(FROM_GUEST.ARTIFACT_SKIPPED, Buffer.alloc(4))],
    ],
  ])('fails on %s', async (_, frames, stdin = [null]) => {
    const { say, report } = running(stdin);
    say(...frames);
    const pending = new Promise((resolve) => setImmediate(resolve, 'still believed'));
    expect(await Promise.race([settledOf(report), pending])).toBeInstanceOf(ProtocolError);
  });

  it('takes DONE before every step has run when it told the guest to end', async () => {
    const { say, report, session } = running(two);
    say(started(0));
    session.kill();
    say(stepEnd(), done());
    expect(await report).toMatchObject({ steps: [stepReport()] });
  });

  it('hears nothing more once it is broken', async () => {
    const { say, report, heard } = running();
    say(stepEnd());
    say(started(0), output('x'), stepEnd(), done());
    expect(await settledOf(report)).toBeInstanceOf(ProtocolError);
    expect(heard).toEqual([]);
  });

  it('O18 keeps the report of a job when the guest says more after DONE, but trusts it no longer', async () => {
    const { say, report, session, written } = running();
    say(started(0), stepEnd(), done(), output('late'));
    expect(await report).toMatchObject({ steps: [stepReport()] });
    await expect(session.reset()).rejects.toThrow(ProtocolError);
    expect(written.types()).toEqual([]);
  });

  it('fails when a sink refuses what came', async () => {
    const { session } = newSession();
    const sink = {
      onStarted: () => {
        throw new ProtocolError('no more');
      },
    } as unknown as GuestSink;
    const report = session.run({ encoded: JOB, stdin: [null], sink });
    session.receive(started(0));
    await expect(report).rejects.toThrow('no more');
  });

  it('rejects its job when the stream is lost, with the first cause', async () => {
    const { session, say, report } = running();
    say(started(0));
    session.fail(new GuestLostError('the stream to the guest closed'));
    session.fail(new Error('later'));
    await expect(report).rejects.toThrow('the stream to the guest closed');
  });

  it('rejects a job sent to a guest that is not ready, busy, done or gone', async () => {
    const job = { encoded: JOB, stdin: [null], sink: {} as GuestSink };
    const early = newSession({ isReady: false });
    await expect(early.session.run(job)).rejects.toThrow(GuestLostError);
    const busy = running();
    await expect(busy.session.run(job)).rejects.toThrow(GuestLostError);
    busy.say(started(0), stepEnd(), done());
    await busy.report;
    await expect(busy.session.run(job)).rejects.toThrow(GuestLostError);
    const { session, written } = newSession();
    session.fail(new GuestLostError('gone'));
    await expect(session.run(job)).rejects.toThrow('gone');
    expect(written.types()).toEqual([]);
  });

  it('tells the guest to end a job that runs, and none that does not', () => {
    const { session, written, say } = running();
    session.kill(CAUSE.ABORTED);
    session.kill();
    expect(written.types()).toEqual([TO_GUEST.KILL, TO_GUEST.KILL]);
    expect(written.frames.map(({ payload }) => intsOf(payload))).toEqual([
      [CAUSE.ABORTED],
      [CAUSE.CANCELLED],
    ]);
    say(started(0), stepEnd(), done());
    written.frames.length = 0;
    session.kill();
    expect(written.types()).toEqual([]);
    const idle = newSession();
    idle.session.kill();
    expect(idle.written.types()).toEqual([]);
  });
});
