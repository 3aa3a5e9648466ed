import path from 'node:path';
import { defineConfig } from 'vitest/config';

/** Apart from the tests: each of these runs a row of them anew, which takes minutes. */
export default defineConfig({
  test: {
    root: path.resolve(import.meta.dirname, '../..'),
    include: ['test/walls/walls.run.ts'],
    testTimeout: 240_000,
  },
});
