/** Which form a document is written in, and the one of ours that says the same. */
import { isRecord } from '../choose.ts';
import type { Fault } from '../fault.ts';
import { fromIntercept } from './intercept.ts';
import { fromPolicylayer } from './policylayer.ts';
import { fromSeed } from './seed.ts';
import type { Translated } from './translation.ts';

export type ForeignForm = 'seed' | 'intercept' | 'policylayer';

const LOADERS: Readonly<Record<ForeignForm, (document: unknown) => Translated>> = {
  seed: fromSeed,
  intercept: fromIntercept,
  policylayer: fromPolicylayer,
};

/** Told apart by what stands beneath the tools; ours has no `tools` at its top. */
export function foreignForm(document: unknown): ForeignForm | undefined {
  if (!isRecord(document)) return undefined;
  const { tools } = document;
  if ('all_tools' in document) return 'policylayer';
  if (!isRecord(tools)) return undefined;
  const entries = Object.values(tools).filter(isRecord);
  const has = (...names: string[]): boolean =>
    entries.some((entry) => names.some((name) => name in entry));
  if (has('require', 'deny_if', 'limits')) return 'policylayer';
  if (has('rules')) return 'intercept';
  if (has('action', 'rate_limit', 'reason')) return 'seed';
  return 'policylayer';
}

export function fromForeign(
  document: unknown,
): { readonly written: unknown } | { readonly faults: readonly Fault[] } {
  const form = foreignForm(document);
  return form === undefined ? { written: document } : LOADERS[form](document);
}
