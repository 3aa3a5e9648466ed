import { describe, expect, it } from 'vitest';
import type { GuestSink } from '../../../services/worker/protocol/conversation.ts';
import { ProtocolError } from '../../../services/worker/protocol/decoder.ts';
import { TO_GUEST } from '../../../services/worker/protocol/frame.ts';
import { GuestLostError } from '../../../services/worker/protocol/session.ts';
import { done, hello, output, started, stepEnd, stepReport } from './frames.ts';
import { JOB, newSession, running } from './sessions.ts';

describe('the reset of a session', () => {
  it('runs one job after another, with a reset before each but the first', async () => {
    const { session, written, say, report } = running();
    say(started(0), stepEnd({ code: 1 }), done());
    await report;
    for (const code of [2, 3]) {
      const reset = session.reset();
      expect(written.types()).toEqual([TO_GUEST.RESET]);
      expect(session.isReady).toBe(false);
      say(hello());
      await reset;
      expect(session.isReady).toBe(true);
      const sink = { onStarted: () => {} } as unknown as GuestSink;
      const next = session.run({ encoded: JOB, stdin: [null], sink });
      say(started(0), stepEnd({ code }), done());
      expect((await next).steps).toEqual([stepReport({ code })]);
      written.frames.length = 0;
    }
  });

  it('resets only a guest whose report it has, and each only once', async () => {
    const early = newSession({ isReady: false });
    await expect(early.session.reset()).rejects.toThrow(GuestLostError);
    const idle = newSession();
    await expect(idle.session.reset()).rejects.toThrow(GuestLostError);
    const busy = running();
    await expect(busy.session.reset()).rejects.toThrow(GuestLostError);
    busy.say(started(0), stepEnd(), done());
    const reset = busy.session.reset();
    await expect(busy.session.reset()).rejects.toThrow(GuestLostError);
    busy.say(hello());
    await reset;
    expect([early, idle, busy].flatMap(({ written }) => written.types())).toEqual([TO_GUEST.RESET]);
  });

  it('takes no job and sends no kill while the guest resets', async () => {
    const { session, say, written } = running();
    say(started(0), stepEnd(), done());
    session.reset().catch(() => {});
    session.kill();
    const job = { encoded: JOB, stdin: [null], sink: {} as GuestSink };
    await expect(session.run(job)).rejects.toThrow(GuestLostError);
    expect(written.types()).toEqual([TO_GUEST.RESET]);
  });

  it('that was asked with the job begins with its report, and is answered to whoever asks for it', async () => {
    const { session, written } = newSession();
    const say = (...frames: Buffer[]) => session.receive(Buffer.concat(frames));
    const sink = { onStarted: () => {} } as unknown as GuestSink;
    const report = session.run({ encoded: JOB, stdin: [null], sink, resetAfter: true });
    say(started(0), stepEnd(), done());
    await report;
    const reset = session.reset();
    expect(session.isReady).toBe(false);
    say(hello());
    await reset;
    expect(session.isReady).toBe(true);
    expect(written.types()).not.toContain(TO_GUEST.RESET);
    await expect(session.reset()).rejects.toThrow(GuestLostError);
  });

  it.each([
    ['output', output('late')],
    ['another protocol', hello(1)],
    ['a step', started()],
    ['bytes that are no frame', Buffer.from('guest: something is left')],
  ])('is broken by a guest that answers a reset with %s', async (_, bytes) => {
    const { session, say } = running();
    say(started(0), stepEnd(), done());
    const reset = session.reset();
    say(bytes);
    await expect(reset).rejects.toThrow(ProtocolError);
    expect(session.isReady).toBe(false);
    await expect(session.reset()).rejects.toThrow(ProtocolError);
  });

  it('rejects the reset of a guest that is gone, and keeps the report it had', async () => {
    const { session, say, report } = running();
    say(started(0), stepEnd(), done());
    const reset = session.reset();
    session.fail(new GuestLostError('the stream to the guest closed'));
    await expect(reset).rejects.toThrow('the stream to the guest closed');
    expect(await report).toMatchObject({ steps: [stepReport()] });
  });
});
