/**
 * A floor: the engine's own churn. The very sandbox that a job gets is created, attached to, started, heard from (the
 * guest's first bytes) and removed, by plain HTTP calls in a loop: no queue, no pool, no job, nothing recorded.
 */
import { randomBytes } from 'node:crypto';
import http from 'node:http';
import type { Socket } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { workerConfig } from '../../services/worker/config.ts';
import { attach } from '../../services/worker/sandbox/attach.ts';
import { createBody } from '../../services/worker/sandbox/create-body.ts';
import { dockerImages } from '../../services/worker/sandbox/docker-images.ts';
import { createImageStore } from '../../services/worker/sandbox/image-store.ts';
import { seccompProfile } from '../../services/worker/sandbox/seccomp.ts';
import { parseSettings } from '../../shared/config/settings.ts';
import { packageRoot, readCatalogue } from '../../shared/images.ts';
import { limited } from '../../shared/limited.ts';
import { createLog } from '../../shared/log.ts';
import type { Run } from '../benchmark.ts';

const CALL_WITHIN_MS = 30_000;
/** Apart from the blocks of uids that workers take. */
const FIRST_UID = 1_900_000_000;
const UIDS = 1_000;
const REMOVALS_TRIED = 5;

class EngineError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** One cycle of the engine, from nothing to nothing. */
export type Churn = () => Promise<void>;

export async function bareEngine(run: Run): Promise<Churn> {
  const settings = parseSettings({});
  const config = workerConfig(settings);
  const images = createImageStore({
    catalogue: readCatalogue(undefined),
    guestFile: path.join(packageRoot, 'build/guest'),
    transport: dockerImages(config.engine),
    log: createLog('silent'),
  });
  await images.prepare();
  const agent = run.own(new http.Agent({ keepAlive: true }), (one) => one.destroy());
  const call = (method: string, route: string, body?: unknown) =>
    engineCall({ ...config.engine, agent, method, path: route }, body);
  const from = {
    image: (await images.imageOf(config.firstShape.image)).tag,
    worker: 'bench',
    installation: 'bench',
    idleSeconds: config.idleSeconds,
    facts: await factsOf(call, config),
  };
  const names = new Set<string>();
  const remove = async (name: string): Promise<void> => {
    await removed(() => call('DELETE', `/containers/${name}?force=1&v=1`));
    names.delete(name);
  };
  run.own(names, (left) => Promise.all([...left].map(remove)));

  let made = 0;
  return async () => {
    const nonce = randomBytes(16).toString('hex');
    const name = `cofferdam-bench-${nonce}`;
    const uid = FIRST_UID + (made++ % UIDS);
    const deadlineMs = Date.now() + config.maxLifeMs;
    const body = createBody({ shape: config.firstShape, uid, nonce, deadlineMs }, from);
    names.add(name);
    await call('POST', `/containers/create?name=${name}`, body);
    const socket = await attach(config.engine, name, CALL_WITHIN_MS);
    const hello = limited(firstBytes(socket), CALL_WITHIN_MS);
    await Promise.all([call('POST', `/containers/${name}/start`), hello]);
    socket.destroy();
    await remove(name);
  };
}

/** The engine's removal may fail while the container ends by itself; asked again it succeeds, or finds it gone. */
async function removed(ask: () => Promise<unknown>): Promise<void> {
  for (let left = REMOVALS_TRIED; ; left--) {
    try {
      await ask();
      return;
    } catch (error) {
      if (error instanceof EngineError && error.status === 404) return;
      if (left <= 1) throw error;
    }
  }
}

const firstBytes = (socket: Socket): Promise<void> =>
  new Promise((resolve, reject) => {
    socket.once('data', () => resolve());
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('The guest ended before it spoke.')));
  });

async function factsOf(
  call: (method: string, route: string) => Promise<string>,
  { maxOpenFiles, maxProcesses }: { maxOpenFiles: number; maxProcesses: number },
): Promise<Parameters<typeof createBody>[1]['facts']> {
  const info = JSON.parse(await call('GET', '/info')) as {
    CgroupDriver: string;
    SecurityOptions?: string[];
  };
  const isAppArmor = (option: string): boolean => option.startsWith('name=apparmor');
  return {
    cgroupParent: info.CgroupDriver === 'systemd' ? 'cofferdam.slice' : '/cofferdam',
    seccomp: seccompProfile(process.arch),
    hasAppArmor: (info.SecurityOptions ?? []).some(isAppArmor),
    cores: os.availableParallelism(),
    maxOpenFiles,
    maxProcesses,
  };
}

function engineCall(options: http.RequestOptions, body: unknown): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = http.request(
      {
        ...options,
        headers: body === undefined ? {} : { 'Content-Type': 'application/json' },
        signal: AbortSignal.timeout(CALL_WITHIN_MS),
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (part: string) => {
          text += part;
        });
        response.on('end', () => {
          const status = response.statusCode ?? 0;
          if (status < 400) return resolve(text);
          reject(new EngineError(status, `${options.method} ${options.path}: ${status} ${text}`));
        });
      },
    );
    request.on('error', reject);
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
}
