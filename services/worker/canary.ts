/**
 * The proof of a runtime: that the engine has one of that name says nothing of what it is. A sandbox is made under it,
 * what a program in it sees of its kernel must be what that runtime shows, and the list of system calls must be in force.
 * What is not proven is not offered, and a job that asks for it goes to another worker: none stands in for another.
 *
 * A runtime that shows the wrong kernel is never tried again; one under which nothing ran is, since engines have bad days.
 */
import type { JobSpec } from '../../shared/contract/spec.ts';
import { SPEC_VERSION } from '../../shared/contract/spec.ts';
import { limited } from '../../shared/limited.ts';
import type { Log } from '../../shared/log.ts';
import type { Runtime } from '../../shared/runtimes.ts';
import { createDeadline } from './deadline.ts';
import { execute } from './execution.ts';
import type { Maker } from './pool/maker.ts';
import { GUEST_PATH } from './sandbox/create-body.ts';
import { isProvenBy, type Sighting } from './sandbox/runtimes.ts';
import type { Sandbox, SandboxEngine, Shape } from './sandbox/sandbox.ts';

const AGAIN_MS = 30_000;
const TIMEOUT_MS = 10_000;
const OUTPUT_BYTES = 4096;

export interface Canary {
  /** Tries each once; resolves when every one is proven or has failed. */
  start(): Promise<void>;
  stop(): Promise<void>;
  readonly proven: ReadonlySet<Runtime>;
}

export function createCanary(options: {
  engine: Pick<SandboxEngine, 'runtimes' | 'kernel'>;
  maker: Pick<Maker, 'make' | 'discard'>;
  /** Those that jobs may ask for. */
  allowed: readonly Runtime[];
  shape: Shape;
  /** Something was proven after the start. */
  onProven: () => void;
  log: Log;
}): Canary {
  const { engine, maker, shape, log } = options;
  const open = new Set(options.allowed.filter((runtime) => engine.runtimes.includes(runtime)));
  const proven = new Set<Runtime>();
  let timer: NodeJS.Timeout | undefined;
  let underWay = Promise.resolve();

  const prove = async (runtime: Runtime): Promise<void> => {
    try {
      const { sandbox } = await maker.make({ ...shape, runtime }, true);
      const seen = await kernelSeenIn(sandbox).finally(() => maker.discard(sandbox));
      open.delete(runtime);
      const sighting: Sighting = { seen, engines: engine.kernel };
      if (isProvenBy(runtime, sighting)) proven.add(runtime);
      else log.error({ runtime, ...sighting }, 'a runtime is not what it should be: not offered');
    } catch (error) {
      log.warn({ err: error, runtime }, 'a runtime could not be proven: not offered yet');
    }
  };
  const proveOpen = async (): Promise<void> => {
    await Promise.all([...open].map(prove));
    if (open.size === 0) clearInterval(timer);
  };

  return {
    proven,
    async start() {
      timer = setInterval(() => {
        const before = proven.size;
        underWay = underWay.then(proveOpen).then(() => {
          if (proven.size > before) options.onProven();
        });
      }, AGAIN_MS).unref();
      underWay = proveOpen();
      await underWay;
    },
    async stop() {
      clearInterval(timer);
      await underWay;
    },
  };
}

/** The guest's own word of it: it is the one program that every image has. */
async function kernelSeenIn(sandbox: Sandbox): Promise<string> {
  const deadline = createDeadline();
  const running = execute(sandbox, specOf(sandbox.shape), {
    deadline,
    streamBytes: OUTPUT_BYTES,
    blobs: new Map(),
  });
  const { report, outputs, error } = await limited(running, 2 * TIMEOUT_MS);
  if (report === undefined) throw new Error('the canary did not end', { cause: error });
  return (outputs[0]?.stdout.text ?? '').trim();
}

const specOf = ({ image, runtime, memoryMb, cpus, processes, workspaceMb }: Shape): JobSpec => ({
  version: SPEC_VERSION,
  image,
  runtime,
  hasSteps: false,
  steps: [{ name: 'kernel', argv: [GUEST_PATH, 'kernel'], stdin: null, timeoutMs: TIMEOUT_MS }],
  env: {},
  cwd: null,
  files: [],
  collect: [],
  timeoutMs: TIMEOUT_MS,
  limits: {
    cpuMs: TIMEOUT_MS,
    cpus,
    memoryMb,
    processes,
    workspaceMb,
    openFiles: 64,
    stdoutBytes: OUTPUT_BYTES,
    stderrBytes: OUTPUT_BYTES,
    artifactBytes: 0,
  },
  parseJson: false,
  truncate: 'head',
  onLost: 'fail',
  group: null,
  redact: [],
});
