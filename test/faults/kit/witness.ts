/**
 * The engine's own account of sandboxes, by its event stream: what became of them without asking us. It outlives the
 * engine: when its stream ends, it is taken up again where it broke off.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const SEEN_WITHIN_MS = 15_000;
const POLL_MS = 10;
const AGAIN_AFTER_MS = 300;

/** `start`: it runs. `die`: its last process has ended. `destroy`: the engine knows nothing of it any more. */
export type Happening = 'create' | 'start' | 'die' | 'destroy';
const HAPPENINGS: readonly Happening[] = ['create', 'start', 'die', 'destroy'];

export interface Seen {
  readonly action: Happening;
  /** Of the container. */
  readonly id: string;
  readonly uid: string;
  readonly worker: string;
  /** On the clock of Date.now(). */
  readonly atMs: number;
}

export interface EngineWitness {
  readonly seen: readonly Seen[];
  /** How many containers it saw do that. */
  count(action: Happening): number;
  /** Ids of those that were created and that the engine still knows of; at another time than now, of then. */
  remaining(atMs?: number): string[];
  /** When the sandbox of that uid came to that end, first after `sinceMs`. */
  endOf(uid: string, action: 'die' | 'destroy', sinceMs: number): Promise<number>;
  stop(): void;
}

/** `label`: as Docker's filter has it, `name` or `name=value`. `socket`: of an engine of one's own, `unix:///…`. */
export function watchEngine({
  label,
  socket,
  sinceMs,
}: {
  label: string;
  socket?: string | undefined;
  /** What happened before is seen as well, from then on. */
  sinceMs?: number;
}): EngineWitness {
  const seen: Seen[] = [];
  const known = new Set<string>();
  const filters = [`label=${label}`, ...HAPPENINGS.map((one) => `event=${one}`)];
  let stream: ChildProcess | undefined;
  let isStopped = false;
  let lastMs = sinceMs;

  const note = (line: string): void => {
    const event = parseEvent(line);
    const name = `${event.id} ${event.action}`;
    if (known.has(name)) return;
    known.add(name);
    seen.push(event);
    lastMs = Math.max(lastMs ?? 0, event.atMs);
  };

  const listen = (): void => {
    const since = lastMs === undefined ? [] : ['--since', (lastMs / 1000).toFixed(3)];
    const args = [
      'events',
      ...since,
      ...filters.flatMap((filter) => ['--filter', filter]),
      '--format',
      '{{json .}}',
    ];
    const env = socket === undefined ? process.env : { ...process.env, DOCKER_HOST: socket };
    const events = spawn('docker', args, {
      stdio: ['ignore', 'pipe', 'ignore'],
      detached: true,
      env,
    });
    stream = events;
    createInterface({ input: events.stdout }).on('line', note);
    events.once('exit', () => {
      if (!isStopped) setTimeout(() => !isStopped && listen(), AGAIN_AFTER_MS).unref();
    });
  };

  lastMs ??= Date.now();
  listen();
  return {
    seen,
    count: (action) => seen.filter((one) => one.action === action).length,
    remaining(atMs = Infinity) {
      const then = seen.filter((one) => one.atMs <= atMs);
      const gone = new Set(then.filter(({ action }) => action === 'destroy').map(({ id }) => id));
      return [...new Set(then.map(({ id }) => id))].filter((id) => !gone.has(id));
    },
    async endOf(uid, action, afterMs) {
      const deadline = Date.now() + SEEN_WITHIN_MS;
      while (Date.now() < deadline) {
        const end = seen.find(
          (one) => one.uid === uid && one.action === action && one.atMs >= afterMs,
        );
        if (end !== undefined) return end.atMs;
        await sleep(POLL_MS);
      }
      const what = `The engine saw no ${action} of the sandbox of uid ${uid}`;
      throw new Error(`${what} for ${SEEN_WITHIN_MS} ms.`);
    },
    stop() {
      isStopped = true;
      stream?.kill();
    },
  };
}

function parseEvent(line: string): Seen {
  const event = JSON.parse(line) as {
    Action: Happening;
    timeNano: number;
    Actor: { ID: string; Attributes: Record<string, string> };
  };
  const { ID: id, Attributes: labels } = event.Actor;
  return {
    action: event.Action,
    id,
    uid: labels['cofferdam.uid'] ?? '',
    worker: labels['cofferdam.worker'] ?? '',
    atMs: event.timeNano / 1e6,
  };
}
