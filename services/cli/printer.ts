/** A job's output on this process's own stdout and stderr, byte by byte as it was written. */
import type { Writable } from 'node:stream';
import type { JobResult } from '../../shared/contract/result.ts';
import { signalNumber } from '../../shared/linux.ts';
import type { EventSink } from './follow.ts';

/** Nobody reads our stdout any more, as behind `| head`. */
export class PipeClosedError extends Error {
  override readonly name = 'PipeClosedError';
  /** As of a program that the kernel ended for it. */
  readonly exitCode = 128 + (signalNumber('SIGPIPE') ?? 0);
}

export interface Printer extends EventSink {
  /** All output of a result at once. */
  whole(result: JobResult): Promise<void>;
}

export function createPrinter(streams: { stdout: Writable; stderr: Writable } = process): Printer {
  let attempt: number | undefined;
  let hasPrinted = false;

  const write = (stream: Writable, bytes: Buffer): Promise<void> =>
    new Promise((resolve, reject) => {
      const onError = (cause: Error): void =>
        reject(new PipeClosedError(`output cannot be written: ${cause.message}`, { cause }));
      stream.once('error', onError);
      stream.write(bytes, (error) => {
        // The callback comes first, the event later.
        if (error) return onError(error);
        stream.off('error', onError);
        resolve();
      });
    });

  const output: EventSink['output'] = async (stream, bytes) => {
    if (bytes.length === 0) return;
    hasPrinted = true;
    await write(streams[stream], bytes);
  };

  return {
    state(event) {
      if (hasPrinted && attempt !== undefined && event.attempt !== attempt) {
        streams.stderr.write('cofferdam: the run was lost; what follows begins again\n');
        hasPrinted = false;
      }
      attempt = event.attempt;
    },
    output,
    async whole({ stdout, stdoutEncoding, stderr, stderrEncoding }) {
      await output('stdout', Buffer.from(stdout, stdoutEncoding));
      await output('stderr', Buffer.from(stderr, stderrEncoding));
    },
  };
}
