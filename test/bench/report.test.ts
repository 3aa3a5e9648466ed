import { describe, expect, it } from 'vitest';
import { atLeast, atMost, figure, reportText } from '../../bench/report.ts';

describe('a report', () => {
  it('lines its figures up and says which targets are met', () => {
    const text = reportText({
      tables: [
        {
          title: 'way',
          columns: ['p50 ms', 'jobs'],
          rows: [
            { what: 'short', cells: [1.234, 7], note: 'a note' },
            { what: 'a longer one', cells: [1234.5] },
          ],
        },
      ],
      targets: [atMost('p50', 9, 8, ' ms'), atLeast('jobs', 7, 7)],
      notes: ['Said at the end.'],
    });
    expect(text).toBe(
      [
        'way           p50 ms  jobs',
        'short           1.23     7  a note',
        'a longer one    1235',
        '',
        'MISSED  p50: 9 ms (≤ 8 ms)',
        'met     jobs: 7 (≥ 7)',
        '',
        'Said at the end.',
      ].join('\n'),
    );
  });

  it('shows three digits or so, and nothing for no number', () => {
    expect([0.123, 12.34, 123.4, 5, Number.NaN].map(figure)).toEqual([
      '0.12',
      '12.3',
      '123',
      '5',
      '-',
    ]);
  });

  it('misses a target whose figure is no number', () => {
    expect(atMost('x', Number.NaN, 1).isMet).toBe(false);
    expect(atLeast('x', Number.NaN, 1).isMet).toBe(false);
  });
});
