/** What rules say of a call before any counter was looked at, and what is to be counted should it go on. */
import type { Verdict } from '../../../shared/contract/policy.ts';
import type { Resolved } from './resolve.ts';

/** One counter that a call is charged to. */
export type Reservation =
  | {
      readonly kind: 'window';
      readonly rule: string;
      /** Of rule, scope and limit: two calls with the same key share the counter. Without the prefix of keys.ts. */
      readonly counter: string;
      readonly algorithm: 'sliding' | 'fixed' | 'token_bucket';
      readonly max: number;
      readonly windowMs: number;
      /** Tokens that may be saved up, for token_bucket. */
      readonly burst: number;
      /** 1 for calls and jobs; for a meter the most that this job can use, settled at its end. */
      readonly amount: number;
      readonly meter: 'calls' | 'jobs' | 'wallMs' | 'cpuMs' | 'outputBytes';
      readonly onExceed: 'deny' | 'require_approval' | 'queue';
      readonly reason: string;
      /** Computed and logged, never enforced. */
      readonly isShadow: boolean;
    }
  | {
      readonly kind: 'concurrency';
      readonly rule: string;
      readonly counter: string;
      readonly max: number;
      /** When the reservation is void at the latest, should nobody return it. */
      readonly untilMs: number;
      readonly onExceed: 'deny' | 'queue';
      readonly reason: string;
      readonly isShadow: boolean;
    };

/** What has to be approved before it runs, by whom. */
export interface ApprovalDemand {
  readonly rule: string;
  readonly reason: string;
  /** Roles (`role:NAME`) or callers, as globs; empty: whoever has the scope. */
  readonly approvers: readonly string[];
  readonly quorum: number;
  readonly expiresInMs: number;
  readonly onExpire: 'deny' | 'approve';
  /** How long an approval holds for the same request of the same caller; 0: for this job alone. */
  readonly rememberMs: number;
  /** Dotted paths of the request that an approver may change. */
  readonly mayEdit: readonly string[];
  /** Names of notifiers. */
  readonly notify: readonly string[];
}

/** Text that is masked in stored output and in the audit log: a pattern of the linear-time engine. */
export interface Redaction {
  readonly pattern: string;
  readonly replacement: string;
}

/** What a rule in shadow would have done. */
export interface ShadowVerdict {
  readonly rule: string;
  readonly decision: Verdict;
  readonly reason: string;
}

export type Judgement =
  | {
      readonly kind: 'refused';
      /** Null: the default of the document. */
      readonly rule: string | null;
      readonly reason: string;
      readonly shadow: readonly ShadowVerdict[];
    }
  | {
      readonly kind: 'goes_on';
      readonly rule: string | null;
      readonly reason: string;
      /** The job as it will be, constraints applied; null for tools that run nothing. */
      readonly resolved: Resolved | null;
      readonly approval: ApprovalDemand | null;
      readonly reservations: readonly Reservation[];
      readonly redactions: readonly Redaction[];
      readonly shadow: readonly ShadowVerdict[];
    };
