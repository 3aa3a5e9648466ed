/** The engine's own account of a worker's sandboxes, by its event stream: what became of them without asking us. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Run } from './benchmark.ts';

const SEEN_WITHIN_MS = 15_000;
const POLL_MS = 10;

/** `die`: its last process has ended. `destroy`: the engine knows nothing of it any more. */
export type End = 'die' | 'destroy';

interface Seen {
  readonly action: End;
  readonly uid: string;
  readonly atMs: number;
}

export interface Witness {
  /** When the sandbox of that uid came to that end, first after `sinceMs`, on the clock of Date.now(). */
  endOf(uid: string, action: End, sinceMs: number): Promise<number>;
}

export function watchEngine(run: Run, worker: string): Witness {
  const seen: Seen[] = [];
  const filters = [`label=cofferdam.worker=${worker}`, 'event=die', 'event=destroy'];
  const args = filters.flatMap((filter) => ['--filter', filter]);
  const events = spawn('docker', ['events', ...args, '--format', '{{json .}}'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  run.own(events, (child: ChildProcess) => child.kill());
  createInterface({ input: events.stdout }).on('line', (line) => seen.push(parseEvent(line)));

  return {
    async endOf(uid, action, sinceMs) {
      const deadline = Date.now() + SEEN_WITHIN_MS;
      while (Date.now() < deadline) {
        const end = seen.find(
          (one) => one.uid === uid && one.action === action && one.atMs >= sinceMs,
        );
        if (end !== undefined) return end.atMs;
        await sleep(POLL_MS);
      }
      throw new Error(
        `The engine saw no ${action} of the sandbox of uid ${uid} for ${SEEN_WITHIN_MS} ms.`,
      );
    },
  };
}

function parseEvent(line: string): Seen {
  const event = JSON.parse(line) as {
    Action: End;
    timeNano: number;
    Actor: { Attributes: Record<string, string> };
  };
  return {
    action: event.Action,
    uid: event.Actor.Attributes['cofferdam.uid'] ?? '',
    atMs: event.timeNano / 1e6,
  };
}
