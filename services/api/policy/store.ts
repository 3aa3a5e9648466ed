/**
 * The policy in force. It comes from the file of COFFERDAM_POLICY or from a PUT, whichever was last, and is kept in Redis,
 * where every process looks several times a second: a document is in force everywhere within a second of its arrival.
 *
 * A document that cannot be used, or that fails its own tests, changes nothing: the last good one stays in force and
 * `problems` says so. A file counts as new when its content is another than what was last put in force from a file: a
 * process that starts does not undo a PUT. A process takes one document or the other as a whole; nothing is ever
 * judged by a mixture.
 */
import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';
import { AppError } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/log.ts';
import { isStoreFailure } from '../../../shared/queue/connection.ts';
import {
  type PolicyRecord,
  putPolicy,
  readPolicy,
  readPolicyRevision,
} from '../../../shared/queue/policy-record.ts';
import { cancelAllRunning } from './kill-switch.ts';
import type { Policy } from './policy.ts';
import { createPolicyFile } from './policy-file.ts';

const LOOK_MS = 250;

export interface InForce {
  readonly policy: Policy;
  readonly source: 'default' | 'file' | 'put';
  /** As it was written; null for the default. */
  readonly text: string | null;
  readonly sinceMs: number;
  readonly by: string | null;
}

export interface PolicyStore {
  readonly current: InForce;
  /** Why the policy in force is not the newest that was written. */
  problems(): string[];
  /** Puts a document in force in every process; POLICY_INVALID, or POLICY_CHANGED where another replaced `ifMatch`. */
  put(text: string, from: { ifMatch: string; by: string }): Promise<InForce>;
  /** Reads the file again and puts it in force, whatever is. */
  reload(): Promise<void>;
  /** Rejects where there is no good document to begin with. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

export interface PolicyStoreOptions {
  readonly redis: Redis;
  readonly file: string | undefined;
  /** Text → policy, its own tests passed; throws POLICY_INVALID. */
  readonly load: (text: string) => Policy;
  readonly fallback: Policy;
  /** This process has put its file in force; `replaced` is the revision before. */
  readonly onFile?: (now: InForce, replaced: string) => void;
  readonly log: Log;
}

const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex');

export function createPolicyStore(options: PolicyStoreOptions): PolicyStore {
  const { redis, load, fallback, log } = options;
  const file = options.file === undefined ? undefined : createPolicyFile(options.file);
  let current: InForce = {
    policy: fallback,
    source: 'default',
    text: null,
    sinceMs: Date.now(),
    by: null,
  };
  const faults = { file: '', newest: '' };
  let timer: NodeJS.Timeout | undefined;
  let underWay: Promise<void> | undefined;
  let hasGood = false;

  const adopt = (policy: Policy, record: PolicyRecord): void => {
    const { source, document, at, by } = record;
    current = { policy, source, text: document, sinceMs: at, by };
    hasGood = true;
    faults.newest = '';
    const { revision, killSwitch, mode } = policy;
    log.info({ revision, source, by, mode, killed: killSwitch.active }, 'policy in force');
    if (killSwitch.active && killSwitch.cancelRunning) {
      cancelAllRunning(redis)
        .then((jobs) => log.warn({ jobs }, 'kill switch: running jobs are cancelled'))
        .catch((error: unknown) => log.error({ err: error }, 'kill switch: jobs still run'));
    }
  };

  /** False where another revision than the expected one is in force. */
  const publish = async (
    expected: string | null | undefined,
    record: Omit<PolicyRecord, 'revision' | 'at'>,
  ): Promise<boolean> => {
    const policy = load(record.document);
    const whole = { ...record, revision: policy.revision, at: Date.now() };
    const { killSwitch } = policy;
    const isDone = await putPolicy(redis, { expected, record: whole, killSwitch });
    if (isDone) adopt(policy, whole);
    return isDone;
  };

  const stays = (): string => `revision ${current.policy.revision} stays in force`;

  const lookAtFile = async (isForced: boolean): Promise<void> => {
    const read = await file?.read(isForced);
    if (file === undefined || read === undefined) return;
    if (read.text === undefined) {
      faults.file = `the policy file ${file.path} cannot be read (${read.fault}); ${stays()}`;
      log.error({ file: file.path, fault: read.fault }, faults.file);
      return;
    }
    try {
      const fileDigest = digestOf(read.text);
      const known = await readPolicy(redis);
      if (isForced || known?.fileDigest !== fileDigest) {
        const { path } = file;
        const replaced = current.policy.revision;
        const record = { document: read.text, source: 'file' as const, fileDigest, by: path };
        await publish(undefined, record);
        options.onFile?.(current, replaced);
      } else load(read.text);
      faults.file = '';
    } catch (error) {
      if (isStoreFailure(error)) file.forget();
      if (!(error instanceof AppError)) throw error;
      faults.file = `the policy file ${file.path} is not usable: ${error.message}; ${stays()}`;
      log.error({ file: file.path }, faults.file);
    }
  };

  const follow = async (): Promise<void> => {
    const revision = await readPolicyRevision(redis);
    if (revision === null) {
      // Redis was emptied: what is in force here is all that is left of it.
      const { text, source, by } = current;
      if (text === null || source === 'default') return;
      const fileDigest = source === 'file' ? digestOf(text) : '';
      await publish(null, { document: text, source, fileDigest, by: by ?? '' });
      return;
    }
    if (revision === current.policy.revision && current.source !== 'default') {
      faults.newest = '';
      return;
    }
    const record = await readPolicy(redis);
    if (record === undefined) return;
    try {
      adopt(load(record.document), record);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      const problem = `the newest policy, revision ${revision}, is not usable by this process: ${error.message}; ${stays()}`;
      if (faults.newest !== problem) log.error({ revision }, problem);
      faults.newest = problem;
    }
  };

  const look = async (isForced = false): Promise<void> => {
    try {
      await lookAtFile(isForced);
      await follow();
    } catch (error) {
      log.debug({ err: error }, 'the policy could not be looked at');
    }
  };
  /** One look at a time; a forced one comes behind the one that is under way. */
  const lookNext = (isForced: boolean): Promise<void> => {
    if (underWay !== undefined && !isForced) return underWay;
    const mine = (underWay ?? Promise.resolve())
      .then(() => look(isForced))
      .finally(() => {
        if (underWay === mine) underWay = undefined;
      });
    underWay = mine;
    return mine;
  };
  const reload = (): Promise<void> => lookNext(true);
  const onHangup = (): void => void reload();

  return {
    get current() {
      return current;
    },
    problems: () => [faults.file, faults.newest].filter((fault) => fault !== ''),
    async put(text, { ifMatch, by }) {
      const isFirst = current.source === 'default' && ifMatch === fallback.revision;
      const record = { document: text, source: 'put' as const, fileDigest: '', by };
      if (await publish(isFirst ? null : ifMatch, record)) return current;
      await lookNext(false);
      throw new AppError('POLICY_CHANGED', {
        field: 'If-Match',
        detail: `If-Match: expected the revision in force, ${current.policy.revision}; came ${ifMatch}`,
      });
    },
    reload,
    async start() {
      await lookAtFile(false);
      await follow();
      // Never without the rules that somebody wrote: what they forbid would be allowed.
      const [fault] = [faults.file, faults.newest].filter((one) => one !== '');
      if (fault !== undefined && !hasGood) throw new Error(`COFFERDAM_POLICY: ${fault}`);
      timer = setInterval(() => void lookNext(false), LOOK_MS);
      process.on('SIGHUP', onHangup);
    },
    async stop() {
      clearInterval(timer);
      process.off('SIGHUP', onHangup);
      await underWay;
    },
  };
}
