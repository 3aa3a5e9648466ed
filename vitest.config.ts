import { defineConfig } from 'vitest/config';

const TEST_TIMEOUT_MS = 60_000;
/** A dead worker's jobs are taken up within half a minute; a row waits for that a few times. */
const FAULT_TIMEOUT_MS = 300_000;

/** The attacks, and what bears an id of theirs elsewhere, once more on a server whose default runtime is gVisor. */
const ATTACKS = [
  'test/escape/**/*.test.ts',
  'test/e2e/{artifacts,inputs,limits,outcomes,output,output-cap}.test.ts',
];
/** Of them, what every run of all tests includes: under ptrace everything takes its time. */
const FEW_ATTACKS = [
  'test/escape/{frames,network,pid-one,privilege,runtime,system-calls,time}.test.ts',
];

/** Rows of the fault matrix that take minutes: `npm run test:faults` names them, `npm test` leaves them out. */
const SLOW_FAULTS = process.env.FAULTS === 'all' ? [] : ['test/faults/slow/**'];

/**
 * Four kinds of tests: of one module, of the guest over pipes, of a whole server through its API, once more on gVisor, and
 * of processes that are killed, cut off and starved.
 */
export default defineConfig({
  test: {
    testTimeout: TEST_TIMEOUT_MS,
    hookTimeout: TEST_TIMEOUT_MS,
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: [
            'test/worker/guest/**',
            'test/e2e/**',
            'test/escape/**',
            'test/faults/*.test.ts',
            'test/faults/!(kit)/**',
            '**/node_modules/**',
          ],
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'guest',
          include: ['test/worker/guest/**/*.test.ts'],
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'server',
          include: ['test/e2e/**/*.test.ts', 'test/escape/**/*.test.ts'],
          globalSetup: ['test/helpers/shared-server.ts'],
          provide: { runtime: 'runc' },
          maxWorkers: 1,
          sequence: { groupOrder: 2 },
        },
      },
      {
        extends: true,
        test: {
          name: 'runsc',
          include: process.env.ESCAPE_MATRIX === 'whole' ? ATTACKS : FEW_ATTACKS,
          globalSetup: ['test/helpers/shared-server.ts'],
          provide: { runtime: 'runsc' },
          maxWorkers: 1,
          sequence: { groupOrder: 3 },
        },
      },
      {
        extends: true,
        test: {
          name: 'faults',
          include: ['test/faults/**/*.test.ts'],
          exclude: [...SLOW_FAULTS, 'test/faults/kit/**', '**/node_modules/**'],
          testTimeout: FAULT_TIMEOUT_MS,
          hookTimeout: FAULT_TIMEOUT_MS,
          maxWorkers: 1,
          sequence: { groupOrder: 4 },
        },
      },
    ],
  },
});
