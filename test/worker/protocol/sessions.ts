/** Sessions with a guest that says what a test has it say. */
import type { GuestSink } from '../../../services/worker/protocol/conversation.ts';
import { encodeFrame, TO_GUEST } from '../../../services/worker/protocol/frame.ts';
import { GuestSession } from '../../../services/worker/protocol/session.ts';
import { hello, Written } from './frames.ts';

export const JOB = encodeFrame(TO_GUEST.RUN);

export function newSession(options: { isReady?: boolean } = {}) {
  const written = new Written();
  const session = new GuestSession(written);
  if (options.isReady ?? true) session.receive(hello());
  return { session, written };
}

/** A session with a job of so many steps under way, and everything its sink heard. */
export function running(stdin: readonly (Buffer | null)[] = [null]) {
  const heard: unknown[][] = [];
  const sink: GuestSink = {
    onStarted: (step) => heard.push(['started', step]),
    onOutput: (step, stream, part, bytes) => heard.push([step, stream, part, bytes.toString()]),
    onArtifact: (path) => heard.push(['artifact', path]),
    onArtifactData: (bytes) => heard.push(['data', bytes.toString()]),
    onArtifactSkipped: (path, reason) => heard.push(['skipped', path, reason]),
  };
  const { session, written } = newSession();
  const report = session.run({ encoded: JOB, stdin, sink });
  report.catch(() => {});
  written.frames.length = 0;
  const say = (...frames: Buffer[]): void => session.receive(Buffer.concat(frames));
  return { session, written, report, heard, say };
}
