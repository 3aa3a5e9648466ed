/** `npm run test:walls`: each wall of a sandbox is taken away, and the row that guards it must turn red. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { aBody } from './a-body.ts';
import { type EngineProxy, startEngineProxy } from './engine-proxy.ts';
import { PROFILE_WALLS } from './profile-walls.ts';
import { runRow } from './run-row.ts';
import { BODY_WALLS, pathWalls } from './walls.ts';

const WALLS = [...BODY_WALLS, ...pathWalls(aBody()), ...PROFILE_WALLS];
const ROWS = [
  ...new Map(WALLS.map(({ row }) => [`${row.file} ${row.id}`, row] as const)).entries(),
];

let proxy: EngineProxy;
const table: string[][] = [['flag', 'row', 'without it']];

beforeAll(async () => {
  proxy = await startEngineProxy();
});
afterAll(async () => {
  await proxy.stop();
  const widths = [0, 1].map((at) => Math.max(...table.map((line) => line[at]?.length ?? 0)));
  const lines = table.map((line) =>
    line.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join('  '),
  );
  process.stdout.write(`${lines.join('\n')}\n`);
});

describe('with every wall', () => {
  test.each(ROWS)('%s is green', async (_, row) => {
    proxy.breach = () => {};
    expect((await runRow(row, proxy.address)).failures).toEqual([]);
  });
});

describe('without', () => {
  test.each(WALLS.map((wall) => [wall.flag, wall.row.id, wall] as const))(
    '%s: %s is red',
    async (flag, id, { breach, row }) => {
      proxy.breach = breach;
      const { failures } = await runRow(row, proxy.address);
      table.push([flag, id, failures[0]?.slice(0, 100) ?? 'GREEN: nobody notices']);
      expect(failures.length).toBeGreaterThan(0);
    },
  );
});
