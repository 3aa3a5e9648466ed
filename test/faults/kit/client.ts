/** A client that notes every call in a history, and repeats what it does not know the effect of. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BatchView } from '../../../shared/contract/batch.ts';
import type { JobRequestInput } from '../../../shared/contract/request.ts';
import type { JobResult } from '../../../shared/contract/result.ts';
import {
  type Ended,
  type History,
  type Operation,
  type Seen,
  UnknownEffectError,
} from './history.ts';
import { type FinalRead, MOST_STARTS_LABEL, NONCE_LABEL } from './verdict.ts';

const CALL_WITHIN_MS = 15_000;
const REPEAT_FIRST_MS = 50;
const REPEAT_MAX_MS = 1_000;
const SURE_WITHIN_MS = 120_000;
const READS_AT_ONCE = 8;
/** Answers that ask for patience: nothing was done, and the same call may be made again. */
const BUSY = [429, 503];

const newKey = (): string => `faults-${randomUUID()}`;

/** A job that prints its nonce, and what else it does. */
export interface NonceJob {
  readonly nonce: string;
  readonly request: JobRequestInput;
}

/** What is left out of it prints the nonce and ends; `then` is a line of shell that follows. */
export function nonceJob(then = 'true', more: Partial<JobRequestInput> = {}): NonceJob {
  const nonce = randomUUID();
  const request = {
    // The nonce is in the command line as well, where whoever looks at the machine's processes finds it.
    command: ['sh', '-c', `echo "$0"; ${then}`, nonce],
    ...more,
    labels: {
      ...more.labels,
      [NONCE_LABEL]: nonce,
      ...(more.onLost === 'fail' ? { [MOST_STARTS_LABEL]: '1' } : {}),
    },
  } as JobRequestInput;
  return { nonce, request };
}

export interface Client {
  /** One call. Without a key it must not be repeated. */
  submit(job: NonceJob, how?: SubmitOptions): Promise<Ended | undefined>;
  /** Repeats under one key until it is known to be accepted; its id. */
  submitSurely(job: NonceJob, how?: SubmitOptions): Promise<string>;
  submitBatchSurely(
    jobs: readonly NonceJob[],
    defaults?: Partial<JobRequestInput>,
  ): Promise<string>;
  get(id: string, waitSeconds?: number): Promise<Seen | undefined>;
  cancel(id: string): Promise<Ended | undefined>;
  cancelBatch(id: string): Promise<Ended | undefined>;
  /** Until no job of it is open, or the time is over; whoever it asks may be away meanwhile. */
  waitForBatch(id: string, seconds: number): Promise<void>;
  /** Every job that the server knows, once all of them are done or the time is over. */
  finals(withinMs: number): Promise<FinalRead[]>;
}

export interface SubmitOptions {
  readonly idempotencyKey?: string;
  readonly waitSeconds?: number;
}

/** `urls`: where its calls go, in turn. */
export function createClient(options: {
  urls: readonly string[];
  key: string;
  history: History;
}): Client {
  const { urls, key, history } = options;
  const batches = new Set<string>();
  let turn = 0;

  const send = (route: string, { method = 'GET', body, headers = {} }: Init = {}) =>
    fetch(`${urls[turn++ % urls.length]}${route}`, {
      method,
      headers: {
        Authorization: `Bearer ${key}`,
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(CALL_WITHIN_MS),
    });

  const submit: Client['submit'] = ({ nonce, request }, how = {}) => {
    const idempotencyKey = how.idempotencyKey ?? null;
    const asked = { operation: 'submit', nonces: [nonce], idempotencyKey } as const;
    const headers = {
      ...(idempotencyKey === null ? {} : { 'Idempotency-Key': idempotencyKey }),
      ...(how.waitSeconds === undefined ? {} : { Prefer: `wait=${how.waitSeconds}` }),
    };
    return history.record(asked, async () =>
      endedOf(await send('/v1/jobs', { method: 'POST', body: request, headers })),
    );
  };

  /** Until it is known to have been accepted, under one key. */
  const surely = async (
    what: string,
    idempotencyKey: string,
    call: (idempotencyKey: string) => Promise<Ended | undefined>,
  ) => {
    const deadline = Date.now() + SURE_WITHIN_MS;
    for (let pauseMs = REPEAT_FIRST_MS; Date.now() < deadline; pauseMs *= 2) {
      const ended = await call(idempotencyKey);
      if (ended?.kind === 'ok') return ended.id;
      if (ended?.kind === 'fail' && !BUSY.includes(ended.status)) {
        throw new Error(`${what} was refused with ${ended.status} ${ended.code}`);
      }
      await sleep(Math.min(pauseMs, REPEAT_MAX_MS) * (0.5 + Math.random() / 2));
    }
    throw new Error(`${what} was not accepted within ${SURE_WITHIN_MS} ms`);
  };

  const about = (operation: Operation, id: string, route: string, method: string) =>
    history.record({ operation, id }, async () => endedOf(await send(route, { method })));

  const client: Client = {
    submit,
    submitSurely: (job, how = {}) =>
      surely('a job', how.idempotencyKey ?? newKey(), (idempotencyKey) =>
        submit(job, { ...how, idempotencyKey }),
      ),
    async submitBatchSurely(jobs, defaults = {}) {
      const body = { defaults, jobs: jobs.map(({ request }) => request) };
      const nonces = jobs.map(({ nonce }) => nonce);
      const id = await surely('a batch', newKey(), (idempotencyKey) =>
        history.record({ operation: 'submit_batch', nonces, idempotencyKey }, async () => {
          const headers = { 'Idempotency-Key': idempotencyKey };
          return endedOf(await send('/v1/batches', { method: 'POST', body, headers }));
        }),
      );
      batches.add(id);
      return id;
    },
    async get(id, waitSeconds = 0) {
      const ended = await about('get', id, `/v1/jobs/${id}?wait=${waitSeconds}`, 'GET');
      return ended?.kind === 'ok' ? (ended.seen ?? undefined) : undefined;
    },
    cancel: (id) => about('cancel', id, `/v1/jobs/${id}`, 'DELETE'),
    cancelBatch: (id) => about('cancel_batch', id, `/v1/batches/${id}`, 'DELETE'),
    async waitForBatch(id, seconds) {
      const deadline = Date.now() + seconds * 1_000;
      while (Date.now() < deadline) {
        const text = await textOf(send, `/v1/batches/${id}?wait=1`);
        const { state, counts } = JSON.parse(text) as BatchView;
        if (state !== 'open' && counts.done === counts.total) return;
        await sleep(REPEAT_FIRST_MS);
      }
    },
    async finals(withinMs) {
      const deadline = Date.now() + withinMs;
      const ids = await listed(send, ['', ...[...batches].map((id) => `&batch=${id}`)]);
      return inTurns(ids, async (id) => {
        for (;;) {
          const text = await textOf(send, `/v1/jobs/${id}`);
          const isDone = (JSON.parse(text) as JobResult).state === 'done';
          if (isDone || Date.now() >= deadline) return { id, text };
          await sleep(REPEAT_FIRST_MS);
        }
      });
    },
  };
  return client;
}

interface Init {
  readonly method?: string;
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
}
type Send = (route: string, init?: Init) => Promise<Response>;

/** The effect of a 5xx is not known: the server may have failed after it had written. */
async function endedOf(response: Response): Promise<Ended> {
  const { status } = response;
  const text = await response.text();
  const isBusy = BUSY.includes(status) && response.headers.has('retry-after');
  if (status >= 500 && !isBusy) throw new UnknownEffectError(`${status}: ${text.slice(0, 200)}`);
  if (status >= 400) {
    const { code } = JSON.parse(text) as { code: string };
    return { kind: 'fail', status, code };
  }
  const { id, state } = JSON.parse(text) as JobResult;
  const seen = id.startsWith('job_') ? { id, state, text: state === 'done' ? text : null } : null;
  return { kind: 'ok', status, id, seen };
}

/** Final reads are not part of the history: they are repeated until there is an answer. */
async function textOf(send: Send, route: string): Promise<string> {
  const deadline = Date.now() + SURE_WITHIN_MS;
  for (;;) {
    // A connection that stayed would count in the census that follows.
    const answer = await send(route, { headers: { Connection: 'close' } }).catch(
      (error: Error) => error,
    );
    const isAnswer = answer instanceof Response && answer.status === 200;
    if (isAnswer) {
      const text = await answer.text().catch(() => undefined);
      if (text !== undefined) return text;
    }
    if (Date.now() >= deadline) {
      const what = answer instanceof Response ? String(answer.status) : answer.message;
      throw new Error(`${route} was not answered within ${SURE_WITHIN_MS} ms: ${what}`);
    }
    await sleep(REPEAT_MAX_MS / 4);
  }
}

/** The ids of all jobs in these lists. */
async function listed(send: Send, queries: readonly string[]): Promise<string[]> {
  const ids: string[] = [];
  for (const query of queries) {
    let cursor = '';
    do {
      const page = JSON.parse(await textOf(send, `/v1/jobs?limit=200${query}${cursor}`)) as {
        jobs: { id: string }[];
        next: string | null;
      };
      ids.push(...page.jobs.map(({ id }) => id));
      cursor = page.next === null ? '' : `&cursor=${page.next}`;
    } while (cursor !== '');
  }
  return ids;
}

async function inTurns<In, Out>(items: readonly In[], act: (item: In) => Promise<Out>) {
  const out: Out[] = [];
  const rest = items.entries();
  const work = async (): Promise<void> => {
    for (const [at, item] of rest) out[at] = await act(item);
  };
  await Promise.all(Array.from({ length: READS_AT_ONCE }, work));
  return out;
}
