/** A benchmark's figures: as tables for a person, as JSON for a program. */

export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly Row[];
}

export interface Row {
  readonly what: string;
  readonly cells: readonly (number | string)[];
  readonly note?: string;
}

/** What the project wants of a figure, and what this run saw. */
export interface Target {
  readonly what: string;
  readonly wanted: string;
  readonly seen: string;
  readonly isMet: boolean;
}

export interface Report {
  readonly tables: readonly Table[];
  readonly targets: readonly Target[];
  readonly notes: readonly string[];
}

export const atMost = (what: string, seen: number, most: number, unit = ''): Target => ({
  what,
  wanted: `≤ ${figure(most)}${unit}`,
  seen: `${figure(seen)}${unit}`,
  isMet: seen <= most,
});

export const atLeast = (what: string, seen: number, least: number, unit = ''): Target => ({
  what,
  wanted: `≥ ${figure(least)}${unit}`,
  seen: `${figure(seen)}${unit}`,
  isMet: seen >= least,
});

export function reportText({ tables, targets, notes }: Report): string {
  const judged = targets.map(
    ({ what, wanted, seen, isMet }) =>
      `${isMet ? 'met   ' : 'MISSED'}  ${what}: ${seen} (${wanted})`,
  );
  return [...tables.map(tableText), judged.join('\n'), notes.join('\n')]
    .filter((part) => part !== '')
    .join('\n\n');
}

/** The first column and the last are text, to the left; the figures between them to the right. */
function tableText({ title, columns, rows }: Table): string {
  const lines = [
    [title, ...columns, ''],
    ...rows.map(({ what, cells, note }) => [
      what,
      ...columns.map((_, at) => textOf(cells[at] ?? '')),
      note ?? '',
    ]),
  ];
  const widths = columns.concat('', '').map((_, at) => widest(lines, at));
  return lines
    .map((line) =>
      line
        .map((cell, at) =>
          at > 0 && at <= columns.length
            ? cell.padStart(widths[at] ?? 0)
            : cell.padEnd(widths[at] ?? 0),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

const widest = (lines: readonly (readonly string[])[], at: number): number =>
  Math.max(...lines.map((line) => line[at]?.length ?? 0));

const textOf = (cell: number | string): string => (typeof cell === 'number' ? figure(cell) : cell);

/** Three digits or so: more would promise what no run repeats. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return '-';
  if (Number.isInteger(value) || Math.abs(value) >= 100) return value.toFixed(0);
  return Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(2);
}
