import { defineConfig } from 'vitest/config';

const TEST_TIMEOUT_MS = 60_000;

/** The attacks, and what bears an id of theirs elsewhere, once more on a server whose default runtime is gVisor. */
const ATTACKS = [
  'test/escape/**/*.test.ts',
  'test/e2e/{artifacts,inputs,limits,outcomes,output,output-cap}.test.ts',
];
/** Of them, what every run of all tests includes: under ptrace everything takes its time. */
const FEW_ATTACKS = [
  'test/escape/{frames,network,pid-one,privilege,runtime,system-calls,time}.test.ts',
];

/** Three kinds of tests: of one module, of the guest over pipes, and of a whole server through its API, twice. */
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
          exclude: ['test/worker/guest/**', 'test/e2e/**', 'test/escape/**', '**/node_modules/**'],
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
    ],
  },
});
