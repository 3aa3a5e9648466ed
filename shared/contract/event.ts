/**
 * What `GET /v1/jobs/:id/events` and `GET /v1/batches/:id/events` send. The bytes of all `output` events of one step and stream, by their offsets, are
 * what the stored result holds of it. An attempt of another number begins all offsets again.
 */
import { z } from 'zod';
import { batchView } from './batch.ts';
import { jobState, outcome } from './result.ts';

export const stateEvent = z
  .strictObject({
    id: z.string(),
    state: jobState,
    attempt: z
      .int()
      .nonnegative()
      .describe('How often the job was started. With another number all output begins again.'),
  })
  .describe('`event: state`: first of all, and whenever one of these changes.');

const place = {
  step: z.int().nonnegative().describe('Counted from 0; 0 in a job without steps.'),
  stream: z.enum(['stdout', 'stderr']),
  offset: z
    .int()
    .nonnegative()
    .describe('Of the first byte here among all that the step wrote to this stream.'),
};

export const outputEvent = z
  .union([
    z.strictObject({ ...place, text: z.string() }),
    z.strictObject({
      ...place,
      base64: z.string().describe('Bytes that are not valid UTF-8 text.'),
    }),
  ])
  .describe('`event: output`: bytes that a program wrote. No character is split between two.');

export const batchEvent = batchView.describe(
  '`event: batch`: first of all, after jobs have ended, and last of all.',
);

export const batchJobEvent = z
  .strictObject({
    index: z.int().nonnegative(),
    key: z.string().nullable(),
    id: z.string(),
    outcome: outcome.nullable().describe('Null when the result is not kept any more.'),
  })
  .describe('`event: job`: a job of the batch has ended.');

export type BatchEvent = z.infer<typeof batchEvent>;
export type BatchJobEvent = z.infer<typeof batchJobEvent>;
export type StateEvent = z.infer<typeof stateEvent>;
export type OutputEvent = z.infer<typeof outputEvent>;

/** Attempt, step, and the offsets reached in its stdout and stderr. */
const EVENT_ID = /^(\d{1,4})\.(\d{1,4})\.(\d{1,15})\.(\d{1,15})$/;

/** The place behind an event: all that was sent before it and with it. */
export interface EventPlace {
  readonly attempt: number;
  readonly step: number;
  readonly stdout: number;
  readonly stderr: number;
}

export const encodeEventId = ({ attempt, step, stdout, stderr }: EventPlace): string =>
  `${attempt}.${step}.${stdout}.${stderr}`;

export const eventId = z
  .string()
  .regex(EVENT_ID, 'expected the id of an event of this stream, such as 1.0.1234.56')
  .transform((text): EventPlace => {
    const [attempt = 0, step = 0, stdout = 0, stderr = 0] = text.split('.').map(Number);
    return { attempt, step, stdout, stderr };
  });
