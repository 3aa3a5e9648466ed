/** One line of `doctor`: what was looked at, how it is, and how to mend it. */
export interface Finding {
  readonly what: string;
  readonly state: 'ok' | 'warning' | 'fault';
  readonly found: string;
  /** How to mend it; empty when there is nothing to mend. */
  readonly mend: string;
}

export const ok = (what: string, found: string): Finding => ({
  what,
  state: 'ok',
  found,
  mend: '',
});
export const warning = (what: string, found: string, mend: string): Finding => ({
  what,
  state: 'warning',
  found,
  mend,
});
export const fault = (what: string, found: string, mend: string): Finding => ({
  what,
  state: 'fault',
  found,
  mend,
});

/** A check that throws is a finding too: the reason and how to mend it. */
export const checking = async (
  what: string,
  mend: string,
  check: () => Promise<Finding[]>,
): Promise<Finding[]> => {
  try {
    return await check();
  } catch (error) {
    return [fault(what, error instanceof Error ? error.message : String(error), mend)];
  }
};

const MARKS = { ok: 'ok     ', warning: 'warning', fault: 'FAULT  ' } as const;
const WHAT_COLUMNS = 14;

/** As wide as its widest name, and no narrower than it always was. */
export function showFindings(findings: readonly Finding[]): string {
  const width = Math.max(WHAT_COLUMNS, ...findings.map(({ what }) => what.length));
  return findings
    .map(({ what, state, found, mend }) => {
      const line = `${MARKS[state]}  ${what.padEnd(width)} ${found}`;
      return mend === '' ? line : `${line}\n${' '.repeat(width + 11)}mend: ${mend}`;
    })
    .join('\n');
}
