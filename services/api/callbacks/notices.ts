/** Tells somebody of what is the end of no job, such as a job that waits for approval: over the same road as callbacks. */
import type { Redis } from 'ioredis';
import { dueNotice } from '../../../shared/queue/callbacks.ts';
import type { AllowList } from './address.ts';
import { parseTarget, requireCallbacks } from './target.ts';

export interface Notice {
  /** What happened, such as `approval.requested`. */
  readonly type: string;
  /** What it is about: while a notice of one subject is to be sent, another of the same is not taken. */
  readonly subject: string;
  /** Whose dead letter it is, should it never arrive. */
  readonly tenant: string;
  readonly url: string;
  readonly data: unknown;
}

export interface Notices {
  /** Refuses with CALLBACK_REFUSED; resolves once the notice is stored, not when it has arrived. */
  send(notice: Notice): Promise<void>;
}

export const createNotices = (options: {
  redis: Redis;
  secret: string | undefined;
  allow: AllowList;
}): Notices => ({
  async send({ url, data, ...notice }) {
    requireCallbacks(options.secret);
    const to = parseTarget(url, options.allow);
    await dueNotice(options.redis, { ...notice, to, data: JSON.stringify(data) });
  },
});
