/** A document that may be put in force: well-formed, and good by its own tests. */
import { AppError } from '../../../shared/errors.ts';
import { runDocumentTests, showFailures } from './document-tests.ts';
import { showFaults } from './fault.ts';
import type { Question } from './judge.ts';
import { loadPolicy } from './load.ts';
import type { Policy } from './policy.ts';

const MAX_SHOWN = 4_000;

const invalid = (text: string): AppError =>
  new AppError('POLICY_INVALID', {
    detail: text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text,
  });

/** Throws POLICY_INVALID with every fault, or every test that fails. */
export function loadUsable(text: string, resolveWith: Question['resolveWith']): Policy {
  const loaded = loadPolicy(text);
  if ('faults' in loaded) throw invalid(showFaults(loaded.faults));
  const failures = showFailures(runDocumentTests(loaded.policy, resolveWith));
  if (failures !== '') throw invalid(`its own tests fail:\n${failures}`);
  return loaded.policy;
}
