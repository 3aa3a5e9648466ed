/**
 * The audit log: every decision and every act of administration, to Redis and as one line of the log. Nothing waits for
 * it; over the connection of requests a record comes before what is sent behind it.
 */
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { SigningKey } from '../../shared/config/trust-settings.ts';
import { type AuditEntry, RECORDS_DROPPED } from '../../shared/contract/audit.ts';
import type { Tool, Verdict } from '../../shared/contract/policy.ts';
import type { Log } from '../../shared/log.ts';
import { dropExpired, findExpired } from '../../shared/queue/audit.ts';
import { createSeal } from '../../shared/queue/signature.ts';
import type { Redaction } from '../../shared/redaction.ts';
import { type ArgumentsKept, hashOfArguments, shownArguments } from './audit-arguments.ts';
import { createAuditWriter } from './audit-writer.ts';
import type { AdministrativeAct, Caller } from './auth.ts';

/** What the policy says of its own log. */
export interface AuditRules {
  readonly arguments: ArgumentsKept;
  readonly decisions: 'denied' | 'all';
  readonly chain: boolean;
  /** How long records are kept, in milliseconds. */
  readonly retain: number;
  /** Of all of its rules: what is masked where arguments are kept, of refused calls too. */
  readonly redactions: readonly Redaction[];
}

/** What was decided of a call, or of one job of a batch: as `Decision` of policy/engine.ts, which is a stage above. */
export interface Decided {
  readonly revision: string;
  readonly call: {
    readonly tool: Tool;
    readonly caller: Caller;
    readonly args: object;
    readonly jobId?: string;
    readonly batch?: { readonly id: string; readonly index: number };
  };
  readonly decision: Verdict;
  /** Null: the default of the policy. */
  readonly rule: string | null;
  readonly reason: string;
  readonly left: readonly { readonly rule: string; readonly left: number }[];
  readonly shadow: readonly {
    readonly rule: string;
    readonly decision: Verdict;
    readonly reason: string;
  }[];
}

export interface Audit {
  /** Of a batch one record for all jobs that a rule allows, and one for each other. */
  decisions(decided: readonly Decided[]): void;
  /** `actor` null: the server itself, as when a file changed. */
  act(act: Omit<AdministrativeAct, 'actor'> & { readonly actor: Caller | null }): void;
  start(): Promise<void>;
  /** Drops what is older than it has to be kept; the server does so itself once a minute. */
  retain(): Promise<void>;
  /** Resolves once what was recorded so far is in Redis; false when that takes too long. */
  sent(): Promise<boolean>;
  stop(): Promise<void>;
}

/** Whatever the policy says: past it the oldest are dropped, so that refusals in a flood do not fill Redis. */
const MOST_RECORDS = 200_000;
const RETAIN_EVERY_MS = 60_000;
const DROP_AT_ONCE = 1_000;
const DROP_ROUNDS = 20;

export interface AuditOptions {
  /** The connection over which jobs are admitted. */
  readonly redis: Redis;
  readonly keys: readonly SigningKey[];
  /** Of the policy in force. */
  readonly rules: () => AuditRules;
  readonly log: Log;
  readonly mostRecords?: number;
}

export function createAudit(options: AuditOptions): Audit {
  const { redis, rules, log, mostRecords = MOST_RECORDS } = options;
  const writer = createAuditWriter({ redis, seal: createSeal(options.keys), log, actOf });
  let timer: NodeJS.Timeout | undefined;

  const record = (entry: AuditEntry): void => {
    // Arguments stay out of the log, whose readers the policy knows nothing of.
    const { args: _, ...told } = { args: undefined, ...entry };
    log.info({ audit: told }, 'audit');
    // Whoever turns the chain off by a policy would be the first whom it does not name.
    if (entry.kind === 'act' || rules().chain) writer.write(entry);
    else writer.writeUnchained(entry);
  };

  const recordGroup = (group: Group): void => {
    const [{ call, revision, decision, rule, reason, left, shadow }] = group;
    const { arguments: kept, decisions, redactions } = rules();
    if (decision === 'allow' && decisions === 'denied') return;
    const { caller, tool, args } = call;
    const shown = group.length === 1 ? shownArguments(args, kept, redactions) : undefined;
    record({
      kind: 'decision',
      ...stamp(caller),
      revision,
      session: caller.session,
      tool,
      argsHash: kept === 'none' ? null : hashOfArguments(group.map((one) => one.call.args)),
      ...(shown === undefined ? {} : { args: shown }),
      decision,
      rule,
      reason,
      limits: left.map(({ rule, left }) => ({ rule, left })),
      shadow: shadow.map(({ rule, decision, reason }) => ({ rule, decision, reason })),
      job: group.length === 1 ? (call.jobId ?? null) : null,
      batch: batchOf(group),
    });
  };

  const retain = async (): Promise<void> => {
    for (let round = 0; round < DROP_ROUNDS; round++) {
      const limits = { nowMs: Date.now(), retainMs: rules().retain, mostRecords };
      const expired = await findExpired(redis, { ...limits, most: DROP_AT_ONCE });
      if (expired === undefined) return;
      const dropped = Object.entries(expired.dropped).map(([chain, { seq, hash }]) => [
        chain,
        { seq, hash },
      ]);
      // First of all the record of it: what is gone without one was removed by somebody else.
      const detail = { count: expired.count, dropped: Object.fromEntries(dropped) as object };
      writer.write(actOf(RECORDS_DROPPED, expired.upTo, detail));
      if (!(await writer.sent())) return;
      await dropExpired(redis, expired);
      if (expired.count < DROP_AT_ONCE) return;
    }
  };

  return {
    decisions(decided) {
      for (const group of groupsOf(decided)) recordGroup(group);
    },
    act({ actor, act, subject, detail }) {
      record({
        ...actOf(act, subject, JSON.parse(JSON.stringify(detail)) as Record<string, unknown>),
        ...stamp(actor),
      });
    },
    async start() {
      await writer.start();
      timer = setInterval(() => {
        retain().catch((error: unknown) => log.warn({ err: error }, 'old audit records are kept'));
      }, RETAIN_EVERY_MS).unref();
    },
    retain,
    sent: () => writer.sent(),
    async stop() {
      clearInterval(timer);
      await writer.stop();
    },
  };
}

/** What one record stands for. */
type Group = [Decided, ...Decided[]];

function groupsOf(decided: readonly Decided[]): Iterable<Group> {
  const groups = new Map<string, Group>();
  for (const [at, one] of decided.entries()) {
    const { batch, caller } = one.call;
    const isShared = batch !== undefined && one.decision === 'allow' && one.shadow.length === 0;
    const name = JSON.stringify(
      isShared ? [batch.id, caller.grant, one.revision, one.rule, one.reason] : [at],
    );
    const group = groups.get(name);
    if (group === undefined) groups.set(name, [one]);
    else group.push(one);
  }
  return groups.values();
}

/** The places of its jobs in their batch. */
function batchOf(group: Group) {
  const id = group[0].call.batch?.id;
  if (id === undefined) return null;
  const places = group.flatMap(({ call }) => call.batch?.index ?? []);
  return { id, count: group.length, first: Math.min(...places), last: Math.max(...places) };
}

const stamp = (caller: Caller | null) => ({
  id: randomUUID(),
  time: new Date().toISOString(),
  caller: caller && { tenant: caller.tenant, grant: caller.grant, name: caller.name },
});

function actOf(act: string, subject: string, detail: Record<string, unknown>) {
  return { kind: 'act' as const, ...stamp(null), act, subject, detail };
}
