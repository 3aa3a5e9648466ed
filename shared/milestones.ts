/**
 * The points on a job's way at which a crash leaves something different behind. A process that reaches one says so on a
 * channel that nobody listens to, unless something from outside does (test/faults/kit/arm.mjs, preloaded into it).
 * Unheard, a point costs the reading of one property.
 */
import { channel } from 'node:diagnostics_channel';

/** In the order in which a job passes them. */
export type Milestone =
  // API
  | 'before_record'
  | 'record_sent'
  | 'enqueued'
  | 'reply_sent'
  // worker, the job
  | 'fetched'
  | 'marked'
  | 'parsed'
  | 'mid_stream'
  | 'last_frame'
  | 'settle_sent'
  | 'settled'
  // worker, its sandbox
  | 'create_sent'
  | 'created'
  | 'attached'
  | 'started'
  | 'removed';

const reached = channel('cofferdam:milestone');

export function milestone(name: Milestone): void {
  if (reached.hasSubscribers) reached.publish(name);
}
