/** What the three foreign forms share: tools that this server has too, names of rules, windows, conditions. */
import { z } from 'zod';
import { TOOLS, type Tool } from '../../../../shared/contract/policy.ts';
import type { Fault } from '../fault.ts';
import { RUN_TOOLS } from '../rule.ts';

export type Translated = { readonly written: unknown } | { readonly faults: readonly Fault[] };

export const ALL_TOOLS = '*';
export const foreignWindow = z.enum(['minute', 'hour', 'day'], {
  error: ({ input }) => `expected minute, hour or day; came ${JSON.stringify(input)}`,
});

/** As they write it; ours judges the operator and the value. */
export const foreignCondition = {
  path: z.string().min(1),
  op: z.string().min(1),
  value: z.json().optional(),
};

/** What a batch runs, it runs as `exec` does: a document that speaks of `exec` alone speaks of both. */
export function toolsFor(name: string, named: readonly string[]): readonly string[] {
  if (name === ALL_TOOLS) return [ALL_TOOLS];
  if (name === 'exec' && !named.includes('exec_batch')) return RUN_TOOLS;
  return isTool(name) ? [name] : [];
}

const isTool = (name: string): name is Tool => TOOLS.some((tool) => tool === name);

/** A document about other tools than ours would let everything through, or nothing. */
export function faultOfNoTool(
  named: readonly string[],
  hidden: readonly string[],
): Fault | undefined {
  const known = [...named, ...hidden].some((name) => name === ALL_TOOLS || isTool(name));
  if (known) return undefined;
  const came = named.length === 0 ? 'none' : named.slice(0, 5).join(', ');
  return { path: 'tools', reason: `expected one of ${TOOLS.join(', ')}, or "*"; came ${came}` };
}

/** What is hidden of ours; a hidden `exec` hides what runs many of it. */
export const hiddenTools = (hidden: readonly string[]): string[] => [
  ...new Set(hidden.flatMap((name) => toolsFor(name, hidden))),
];

/** Free words → names of rules, each its own. */
export function createNames(): (words: string) => string {
  const taken = new Set<string>();
  return (words) => {
    const plain =
      words
        .replace(/[^A-Za-z0-9._-]+/g, '-')
        .replace(/^[^A-Za-z0-9]+|-+$/g, '')
        .slice(0, 56) || 'rule';
    let name = plain;
    for (let next = 2; taken.has(name); next += 1) name = `${plain}-${next}`;
    taken.add(name);
    return name;
  };
}
