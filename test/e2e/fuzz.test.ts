/** Ten thousand malformed requests, HTTP and MCP; `npm run fuzz` sends a hundred thousand, and takes a seed. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { callerOf, type ServerProcess, startServer } from '../helpers/server.ts';
import { FUZZ_ENV, fuzz } from './fuzz/fire.ts';

const COUNT = 10_000;
const WITHIN_MS = 240_000;
const MOST_BYTES = 1024 ** 3;

let server: ServerProcess;
beforeAll(async () => {
  server = await startServer(FUZZ_ENV);
});
afterAll(() => server.stop());

test(
  'H44 malformed requests get no 5xx, and the server serves on within its memory',
  async () => {
    const seed = Date.now() % 1_000_000;
    process.stdout.write(`fuzz: seed ${seed}\n`);
    const { faults, statuses, peakBytes } = await fuzz(server, { seed, count: COUNT });
    expect(faults, `seed ${seed}`).toEqual([]);
    expect(Object.keys(statuses)).toEqual(expect.arrayContaining(['200', '400', '404']));
    expect(peakBytes).toBeLessThan(MOST_BYTES);
    const caller = callerOf(server);
    expect((await caller.send('/healthz')).status).toBe(200);
    const result = await caller.run({ command: ['echo', 'still here'] });
    expect(result).toMatchObject({ outcome: { kind: 'exited' }, stdout: 'still here\n' });
  },
  WITHIN_MS,
);
