/** One outcome of every kind, with every value of its closed fields. */
import type { Outcome } from '../../../shared/contract/result.ts';

export const everyOutcome: readonly Outcome[] = [
  { kind: 'exited', exitCode: 0 },
  { kind: 'exited', exitCode: 1 },
  { kind: 'exited', exitCode: 255 },
  { kind: 'signaled', signal: 'SIGSEGV' },
  { kind: 'timed_out', limit: 'wall' },
  { kind: 'timed_out', limit: 'cpu' },
  { kind: 'out_of_memory' },
  { kind: 'output_limit' },
  { kind: 'could_not_start', stage: 'setup', errno: 'ENOMEM' },
  { kind: 'could_not_start', stage: 'files', errno: 'ENOSPC' },
  { kind: 'could_not_start', stage: 'cwd', errno: 'ENOTDIR' },
  { kind: 'could_not_start', stage: 'exec', errno: 'ENOENT' },
  { kind: 'could_not_start', stage: 'exec', errno: 'EACCES' },
  { kind: 'cancelled', by: 'caller' },
  { kind: 'cancelled', by: 'operator' },
  { kind: 'expired' },
  { kind: 'denied', rule: 'r', reason: 'because' },
  { kind: 'lost', cause: 'sandbox_lost' },
  { kind: 'lost', cause: 'sandbox_crashed' },
  { kind: 'lost', cause: 'sandbox_unresponsive' },
  { kind: 'lost', cause: 'sandbox_unavailable' },
  { kind: 'lost', cause: 'worker_lost' },
  { kind: 'lost', cause: 'spec_unreadable' },
  { kind: 'lost', cause: 'spec_forged' },
];
