/**
 * Removes what no live worker owns: sandboxes of workers that died, and any that outlived its own deadline, whoever
 * made it. At the start of a worker and every ten seconds; containers without our labels are never looked at.
 */
import { limited } from '../../../shared/limited.ts';
import type { Log } from '../../../shared/log.ts';
import type { SharedClock } from '../../../shared/queue/shared-clock.ts';
import type { ListedSandbox, SandboxEngine } from '../sandbox/sandbox.ts';
import type { EngineGate } from './gate.ts';

const SWEEP_MS = 10_000;
const LIVING_WITHIN_MS = 2_000;
const DEADLINE_GRACE_MS = 5_000;

export interface Sweep {
  start(): void;
  stop(): Promise<void>;
}

export function createSweep(options: {
  engine: SandboxEngine;
  gate: EngineGate;
  worker: string;
  installation: string;
  owns: (nonce: string) => boolean;
  clock: Pick<SharedClock, 'nowMs'>;
  /** Which of these workers live; rejects when that cannot be known now. */
  livingOf: (workers: readonly string[]) => Promise<ReadonlySet<string>>;
  onSwept: (count: number) => void;
  log: Log;
}): Sweep {
  const { engine, gate, worker, owns, clock, log } = options;
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> | undefined;

  const isOrphan = (sandbox: ListedSandbox, living: ReadonlySet<string> | undefined): boolean => {
    if (sandbox.worker === worker) return !owns(sandbox.nonce);
    if (sandbox.deadlineMs + DEADLINE_GRACE_MS < clock.nowMs()) return true;
    // Whether a worker of another installation lives is known to another Redis.
    if (sandbox.installation !== options.installation) return false;
    return living !== undefined && !living.has(sandbox.worker);
  };

  const sweepOnce = async (): Promise<void> => {
    const listed = await engine.list();
    const neighbours = listed.filter((one) => one.installation === options.installation);
    const others = [...new Set(neighbours.map((one) => one.worker))].filter((id) => id !== worker);
    // Without Redis nobody can say who lives: only our own and the overdue are judged.
    const asked = limited(options.livingOf(others), LIVING_WITHIN_MS);
    const living = await asked.catch(() => undefined);
    const orphans = listed.filter((sandbox) => isOrphan(sandbox, living));
    const removed = await Promise.allSettled(
      orphans.map(({ nonce }) => gate.remove(() => engine.remove(nonce))),
    );
    const gone = removed.filter(({ status }) => status === 'fulfilled').length;
    if (orphans.length > 0) log.warn({ found: orphans.length, gone }, 'swept orphaned sandboxes');
    options.onSwept(gone);
  };

  const sweep = async (): Promise<void> => {
    try {
      await sweepOnce();
    } catch (error) {
      log.warn({ err: error }, 'the sweep failed');
    }
  };

  const loop = (): void => {
    running = sweep().finally(() => {
      running = undefined;
      if (timer !== undefined) timer = setTimeout(loop, SWEEP_MS).unref();
    });
  };

  return {
    start() {
      timer = setTimeout(loop, 0);
    },
    async stop() {
      clearTimeout(timer);
      timer = undefined;
      await running;
    },
  };
}
