/** A spec as resolve makes it of a request for `true`, with what a test does not care about filled in. */
import type { JobSpec } from '../../shared/contract/spec.ts';

export const aSpec = (over: Partial<JobSpec> = {}): JobSpec => ({
  version: 3,
  image: 'base',
  runtime: 'runc',
  hasSteps: false,
  steps: [{ name: 'main', argv: ['true'], stdin: null, timeoutMs: 10_000 }],
  env: { PATH: '/usr/bin:/bin' },
  cwd: null,
  files: [],
  collect: [],
  timeoutMs: 10_000,
  limits: {
    cpuMs: 10_000,
    cpus: 1,
    memoryMb: 256,
    processes: 64,
    workspaceMb: 64,
    openFiles: 256,
    stdoutBytes: 1024,
    stderrBytes: 1024,
    artifactBytes: 1024,
  },
  parseJson: false,
  truncate: 'both',
  onLost: 'retry',
  group: null,
  redact: [],
  ...over,
});
