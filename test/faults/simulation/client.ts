/** Callers: each wants one job done, says so again under its Idempotency-Key until it is told an id, and may cancel it. */

import { newJobId } from '../../../services/api/admit.ts';
import type { Caller } from '../../../services/api/auth.ts';
import type { JobRequest } from '../../../shared/contract/request.ts';
import type { NewJob } from '../../../shared/queue/admit.ts';
import { aSpec } from '../../worker/spec.ts';
import { type Behaviour, TIMEOUT_MS } from './guest.ts';
import type { JobPlan } from './plan.ts';
import type { ApiProcess } from './processes.ts';
import type { Mortal } from './wire.ts';

/** Beside its own time, what a start may take before the sweep gives it up. */
const START_OVERHEAD_MS = 30_000;
const RETAIN_MS = 24 * 3_600_000;
const PATIENCE_MS = 1_000;

const CALLER: Caller = {
  tenant: 'default',
  grant: 'g',
  name: 'n',
  scopes: new Set(),
  session: null,
} as unknown as Caller;

export interface Wish extends Pick<JobPlan, 'onLost' | 'expiresInMs'> {
  readonly behaviour: Behaviour;
  readonly lastsMs: number;
}

/** What the policy makes of a wish. */
export function jobOf(id: string, wish: object): NewJob {
  const { behaviour, lastsMs, onLost, expiresInMs } = wish as Wish;
  const argv = ['program', id, behaviour, String(lastsMs)];
  const steps = [{ name: 'main', argv, stdin: null, timeoutMs: TIMEOUT_MS }];
  return {
    id,
    lane: 'interactive',
    spec: JSON.stringify(aSpec({ onLost, steps, timeoutMs: TIMEOUT_MS })),
    image: 'base',
    runtime: 'runc',
    labels: {},
    expiresAtMs: Date.now() + expiresInMs,
    retainMs: RETAIN_MS,
    budgetMs: TIMEOUT_MS + START_OVERHEAD_MS,
  };
}

export interface Server {
  readonly mortal: Mortal;
  readonly api: ApiProcess;
}

export class Client {
  /** Once it was told. */
  id: string | undefined;
  readonly wish: Wish;
  readonly #key: string;
  readonly #server: () => Server;

  constructor(key: string, wish: Wish, server: () => Server) {
    this.#key = key;
    this.wish = wish;
    this.#server = server;
  }

  async submit(): Promise<void> {
    while (this.id === undefined) {
      const accepted = await this.#ask(({ admit }) =>
        admit.job({
          id: newJobId(),
          caller: CALLER,
          request: this.wish as unknown as JobRequest,
          idempotencyKey: this.#key,
          replyTo: '',
        }),
      );
      this.id = accepted?.id;
      if (this.id === undefined) await new Promise((go) => setTimeout(go, PATIENCE_MS));
    }
  }

  async cancel(): Promise<void> {
    const { id } = this;
    if (id !== undefined) await this.#ask(({ jobs }) => jobs.cancel(CALLER, id));
  }

  /** Undefined when the server died, or refused. */
  #ask<T>(question: (api: ApiProcess) => Promise<T>): Promise<T | undefined> {
    const { mortal, api } = this.#server();
    return new Promise((resolve) => {
      mortal.onDeath(() => resolve(undefined));
      question(api).then(resolve, () => resolve(undefined));
    });
  }
}
