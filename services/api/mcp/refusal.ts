/** A refusal as one line that an agent can act on: what, by which rule, why, what to change or when to retry. */
import type { AppError } from '../../../shared/errors.ts';
import { refusalOf, retryAfterMsOf } from './output-schema.ts';

export function refusalLine(tool: string, error: AppError): string {
  const { policy } = error;
  const { code, detail, remedy } = refusalOf(error);
  const said =
    policy === undefined
      ? `${tool} refused (${code}): ${sentence(detail)}`
      : `${tool} refused (${code}) by ${ruleOf(policy.rule)}: ${sentence(policy.reason)}`;
  return oneLine(`${said} ${adviceOf(error, remedy)}`);
}

const ruleOf = (rule: string | null): string =>
  rule === null ? 'the default of the policy' : `the rule ${JSON.stringify(rule)}`;

function adviceOf(error: AppError, remedy: string): string {
  const retryAfterMs = retryAfterMsOf(error);
  if (retryAfterMs !== null) return `Retry in ${Math.ceil(retryAfterMs / 1000)} s.`;
  const approval = error.policy?.approvalId ?? null;
  if (approval !== null) return `It waits for the approval ${approval}.`;
  return sentence(remedy);
}

const sentence = (text: string): string => (/[.!?…]$/.test(text) ? text : `${text}.`);

/** A reason comes from a document, a detail may repeat what the caller sent: neither makes a second line. */
const oneLine = (text: string): string => text.replace(/\s*[\r\n\u2028\u2029]+\s*/g, ' ').trim();
