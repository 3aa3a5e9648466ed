/** A benchmark's figures: as a table for a person, as JSON for a program. */

export interface Row {
  readonly what: string;
  readonly p50: number;
  readonly p95: number;
  readonly max: number;
  readonly note: string;
}

export interface Report {
  readonly name: string;
  readonly unit: 'ms';
  readonly rows: readonly Row[];
  readonly notes: readonly string[];
}

/** The smallest value that so many percent of the values do not exceed (nearest rank). */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? Number.NaN;
}

export function tableOf({ name, unit, rows, notes }: Report): string {
  const number = (value: number): string => value.toFixed(1);
  const cells = rows.map((row) => [
    row.what,
    number(row.p50),
    number(row.p95),
    number(row.max),
    row.note,
  ]);
  const lines = [[name, `p50 ${unit}`, `p95 ${unit}`, `max ${unit}`, ''], ...cells];
  const widths = [0, 1, 2, 3, 4].map((at) =>
    Math.max(...lines.map((line) => line[at]?.length ?? 0)),
  );
  const shown = lines.map((line) =>
    line
      .map((cell, at) =>
        at >= 1 && at <= 3 ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  );
  return [...shown, '', ...notes].join('\n');
}
