/**
 * Docker's client library, and what every use of it here has in common: where it connects, how long a call may take
 * (a hung container runtime can block one for ever), how a removal is confirmed. The one file that imports it.
 */
import Docker from 'dockerode';
import { steadyNowMs } from '../../../shared/steady-clock.ts';
import type { EngineAddress } from './attach.ts';
import type { CauseOfDeath } from './sandbox.ts';

export type { Docker };

export const CALL_TIMEOUT_MS = 15_000;
/** The engine hears of an end a little after the stream closed. */
const END_SEEN_WITHIN_MS = 2_000;
const GONE_POLL_MS = 50;

/** `unix:///path` or `tcp://host:port` → where to connect. */
export function parseEngineAddress(text: string): EngineAddress {
  if (text.startsWith('unix://')) return { socketPath: text.slice('unix://'.length) };
  const url = new URL(text);
  return { host: url.hostname, port: Number(url.port || 2375) };
}

export function openDocker(address: EngineAddress): Docker {
  const docker =
    'socketPath' in address
      ? new Docker({ socketPath: address.socketPath })
      : new Docker({ host: address.host, port: address.port, protocol: 'http' });
  endWithTheirSignals(docker);
  return docker;
}

type Reply = (error: Error | null, answer?: unknown) => void;

/** An answer that breaks off after its headers is never heard of again: the library waits for its end, signal or not. */
function endWithTheirSignals({ modem }: Docker): void {
  const dial = modem.dial.bind(modem);
  modem.dial = (options, reply: Reply) => {
    const { abortSignal } = options;
    let isOver = false;
    const once: Reply = (error, answer) => {
      if (isOver) return;
      isOver = true;
      abortSignal?.removeEventListener('abort', late);
      reply(error, answer);
    };
    const late = (): void => once(new Error('the engine did not answer to the end in time'));
    abortSignal?.addEventListener('abort', late);
    return dial(options, once);
  };
}

export const within = (ms: number) => ({ abortSignal: AbortSignal.timeout(ms) });

/** The library's types know options only beside a callback; its calls return promises all the same. */
export const promised = async <T>(call: unknown): Promise<T> => (await call) as T;

export const statusOf = (error: unknown): number | undefined =>
  error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number'
    ? error.statusCode
    : undefined;

/** 128 and SIGKILL. */
const KILLED = 137;
const OOM_HEARD_WITHIN_S = 2;
/** With what a process in Go ends that fails, such as gVisor's kernel when it gets no further thread. */
const GO_FAILED = 2;

/** Why a container has ended, or is just ending. */
export async function causeOfDeath(docker: Docker, id: string): Promise<CauseOfDeath | undefined> {
  const container = docker.getContainer(id);
  const deadline = steadyNowMs() + END_SEEN_WITHIN_MS;
  while (steadyNowMs() < deadline) {
    try {
      const { State, HostConfig } = await container.inspect(within(CALL_TIMEOUT_MS));
      if (!State.Running) {
        const cause = causeIn(State, HostConfig.Runtime);
        const isOpen = cause === undefined && State.ExitCode === KILLED;
        return isOpen && (await hearsOfMemory(docker, id)) ? 'memory' : cause;
      }
    } catch {
      return undefined; // removed by somebody, or the engine is away: nothing is known
    }
    await new Promise((resolve) => setTimeout(resolve, GONE_POLL_MS));
  }
  return undefined;
}

/**
 * The engine notes for ever with a container's end whether its memory was the reason; where it hears of that only after
 * the end, it says so in its events alone.
 */
async function hearsOfMemory(docker: Docker, id: string): Promise<boolean> {
  const nowS = Date.now() / 1000;
  const events = await promised<AsyncIterable<Buffer>>(
    docker.getEvents({
      since: String(nowS - OOM_HEARD_WITHIN_S),
      until: String(nowS + OOM_HEARD_WITHIN_S),
      filters: { container: [id], event: ['oom'] },
      ...within(CALL_TIMEOUT_MS),
    } as never),
  );
  for await (const _ of events) return true;
  return false;
}

function causeIn(
  { OOMKilled, ExitCode }: { OOMKilled: boolean; ExitCode: number },
  runtime: string | undefined,
): CauseOfDeath | undefined {
  if (OOMKilled) return 'memory';
  return runtime === 'runsc' && ExitCode === GO_FAILED ? 'crash' : undefined;
}

/** Removes by force and returns once the engine knows nothing of it any more. */
export async function removeContainer(docker: Docker, id: string): Promise<void> {
  const container = docker.getContainer(id);
  try {
    await container.remove({ force: true, v: true, ...within(CALL_TIMEOUT_MS) });
    return;
  } catch (error) {
    if (statusOf(error) === 404) return;
    // 409: another removal is under way; wait for its end below.
    if (statusOf(error) !== 409) throw error;
  }
  const deadline = steadyNowMs() + CALL_TIMEOUT_MS;
  while (steadyNowMs() < deadline) {
    try {
      await container.inspect(within(CALL_TIMEOUT_MS));
    } catch (error) {
      if (statusOf(error) === 404) return;
      throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, GONE_POLL_MS));
  }
  throw new Error(`The engine has been removing ${id} for ${CALL_TIMEOUT_MS} ms.`);
}
