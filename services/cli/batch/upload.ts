/** The upload of a batch: streamed, and repeated under its Idempotency-Key when it breaks off. */
import { type BatchAccepted, batchAccepted } from '../../../shared/contract/batch.ts';
import { type Connection, ServerError } from '../client.ts';
import { readJson } from './body.ts';
import { type BatchInput, InputError } from './input.ts';
import type { Patience } from './patience.ts';
import { isTransient, NoAnswer, parseAnswer, request } from './request.ts';

export interface Upload {
  readonly input: BatchInput;
  /** Null where the upload cannot be repeated: the server then cancels what broke off. */
  readonly idempotencyKey: string | null;
  readonly patience: Patience;
  readonly signal: AbortSignal;
  /** Bytes that the connection has taken of this try. */
  onSent(bytes: number): void;
}

export async function uploadBatch(server: Connection, upload: Upload): Promise<BatchAccepted> {
  const { input, idempotencyKey, patience, signal } = upload;
  for (;;) {
    try {
      const answer = await sendOnce(server, upload);
      patience.heard();
      return answer;
    } catch (error) {
      if (!isTransient(error)) throw error;
      if (input.isRepeatable && idempotencyKey !== null) {
        await patience.pause(error, signal);
        continue;
      }
      if (error instanceof NoAnswer && !error.wasConnected) throw error;
      throw new ServerError(
        `The upload broke off, and ${input.name} cannot be read again: use a file. ${error.message}`,
        { cause: error },
      );
    }
  }
}

async function sendOnce(
  server: Connection,
  { input, idempotencyKey, signal, onSent }: Upload,
): Promise<BatchAccepted> {
  let fault: InputError | undefined;
  const body = ReadableStream.from(
    watched(input, onSent, (error) => {
      fault = error;
    }),
  );
  // Ends the sending of the rest when the answer comes before it.
  const answered = new AbortController();
  try {
    const response = await request(server, '/v1/batches', {
      method: 'POST',
      body,
      duplex: 'half',
      headers: {
        'Content-Type': 'application/x-ndjson',
        ...(idempotencyKey === null ? {} : { 'Idempotency-Key': idempotencyKey }),
      },
      signal: AbortSignal.any([signal, answered.signal]),
    });
    return parseAnswer(server, batchAccepted, await bodyOf(response, server, signal));
  } catch (error) {
    throw fault ?? error;
  } finally {
    answered.abort();
  }
}

const bodyOf = (response: Response, { url }: Connection, signal: AbortSignal) =>
  readJson(response, signal).catch((cause: unknown) => {
    signal.throwIfAborted();
    throw new NoAnswer(url, cause);
  });

async function* watched(
  input: BatchInput,
  onSent: (bytes: number) => void,
  onFault: (error: InputError) => void,
): AsyncGenerator<Uint8Array> {
  let sent = 0;
  try {
    for await (const piece of input.read()) {
      yield piece;
      sent += piece.length;
      onSent(sent);
    }
  } catch (error) {
    if (error instanceof InputError) onFault(error);
    throw error;
  }
}
