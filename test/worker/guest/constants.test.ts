import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import * as protocol from '../../../services/worker/protocol/frame.ts';

const folder = join(import.meta.dirname, '../../../services/worker/guest');
const header = readFileSync(join(folder, 'frame.h'), 'utf8');
/** The tables' cells are padded to line up; here a space is a space. */
const page = readFileSync(join(folder, 'README.md'), 'utf8').replaceAll(/ +/g, ' ');

/** The members of `enum name` (any enum without a name), their prefix removed. */
function enumOf(name: string, prefix: string): Record<string, number> {
  const body = new RegExp(`enum ${name}\\s*\\{([^}]*)\\}`).exec(header)?.[1] ?? '';
  const members = [...body.matchAll(/(\w+) = (\d+)/g)];
  return Object.fromEntries(
    members.map(([, key, value]) => [key?.replace(prefix, ''), Number(value)]),
  );
}

/** The cells of the table whose head begins so, as rows. */
function table(head: string): string[][] {
  const lines = page.slice(page.indexOf(head)).split('\n');
  const end = lines.findIndex((line) => !line.startsWith('|'));
  return lines.slice(2, end).map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

const typesOf = (title: string) => {
  const section = page.slice(page.indexOf(title));
  const rows = [
    ...section
      .slice(0, section.indexOf('\n\n', section.indexOf('|')))
      .matchAll(/^\| (\d+) \| (\w+) \|/gm),
  ];
  return Object.fromEntries(rows.map(([, value, name]) => [name, Number(value)]));
};

/** A column of the table of numbers: the word before any colon, as a constant's name. */
function numbersOf(column: number): Record<string, number> {
  const rows = table('| number |').filter((row) => row[column]);
  return Object.fromEntries(
    rows.map((row) => [row[column]?.split(':')[0]?.toUpperCase() ?? '', Number(row[0])]),
  );
}

describe('the numbers of the protocol', () => {
  it('are the same in frame.h and frame.ts', () => {
    const { PROTOCOL_VERSION, HEADER_BYTES, MAX_PAYLOAD_BYTES, CHUNK_BYTES } = protocol;
    expect(enumOf('', '')).toEqual({
      PROTOCOL_VERSION,
      HEADER_BYTES,
      MAX_PAYLOAD_BYTES,
      CHUNK_BYTES,
    });
    expect(enumOf('to_guest', 'TO_')).toEqual(protocol.TO_GUEST);
    expect(enumOf('from_guest', 'FROM_')).toEqual(protocol.FROM_GUEST);
    expect(enumOf('cause', 'CAUSE_')).toEqual(protocol.CAUSE);
    expect(enumOf('kind', 'KIND_')).toEqual(protocol.KIND);
    expect(enumOf('stage', 'STAGE_')).toEqual(protocol.STAGE);
    expect(enumOf('skipped', 'SKIPPED_')).toEqual(protocol.SKIPPED);
    expect(enumOf('truncate', 'TRUNCATE_')).toEqual({ HEAD: 0, TAIL: 1, BOTH: 2 });
    expect(protocol.TRUNCATE).toEqual({ head: 0, tail: 1, both: 2 });
  });

  it('are the same on the page', () => {
    expect(typesOf('### Worker → guest')).toEqual(protocol.TO_GUEST);
    expect(typesOf('### Guest → worker')).toEqual(protocol.FROM_GUEST);
    expect(numbersOf(1)).toEqual(protocol.CAUSE);
    expect(numbersOf(2)).toEqual(protocol.KIND);
    expect(numbersOf(3)).toEqual(protocol.STAGE);
    expect(table('| number |').filter((row) => row[4])).toHaveLength(
      Object.keys(protocol.SKIPPED).length,
    );
    expect(page).toContain(`## The protocol, version ${protocol.PROTOCOL_VERSION}`);
    expect(page).toContain(`length of the payload, 0..${protocol.MAX_PAYLOAD_BYTES}`);
    expect(page).toContain('(0 head,\n1 tail, 2 both)');
  });

  it('and the order of integers are the same on the page', () => {
    const limits = page.slice(page.indexOf('LIMITS holds'), page.indexOf('### Guest'));
    const named = [...limits.matchAll(/`(\w+)`/g)].map(([, name]) => name);
    expect(named.filter((name, i) => named.indexOf(name) === i)).toEqual(
      expect.arrayContaining([...protocol.LIMITS_FIELDS]),
    );
    expect(named.slice(0, 13)).toEqual([...protocol.LIMITS_FIELDS]);
    expect(page).toContain(`10 ints | ${protocol.STEP_END_FIELDS.join(', ')} |`);
    expect(page).toContain(`5 ints | ${protocol.DONE_FIELDS.join(', ')};`);
  });
});
