/**
 * One server for all tests that speak to a whole server, and the census once they are done: it must end with exit code
 * 0 and leave no sandbox, no Redis and no network namespace behind.
 */
import { readdirSync, readFileSync } from 'node:fs';
import type { TestProject } from 'vitest/node';
import type { Runtime } from '../../shared/runtimes.ts';
import { sandboxes } from './docker.ts';
import { callerOf } from './server.ts';
import { startTenantServer } from './tenants.ts';

declare module 'vitest' {
  interface ProvidedContext {
    runtime: Runtime;
    server: {
      url: string;
      key: string;
      /** The key of another tenant, who must see nothing of the first. */
      otherKey: string;
      pid: number;
      dataDir: string;
    };
  }
}

/** Children of a process, by /proc. */
const childrenOf = (pid: number): number[] =>
  readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8')
      .split(' ')
      .filter((text) => text !== '')
      .map(Number),
  );

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

export default async function setup({
  provide,
  config,
}: TestProject): Promise<() => Promise<void>> {
  const env = {
    COFFERDAM_MAX_BODY_BYTES: String(16 * 1024 * 1024),
    COFFERDAM_DEFAULT_RUNTIME: config.provide.runtime ?? 'runc',
  };
  const server = await startTenantServer({ other: {} }, env);
  const { runtimes } = (await (await callerOf(server).send('/v1/info')).json()) as {
    runtimes: string[];
  };
  if (!runtimes.includes(env.COFFERDAM_DEFAULT_RUNTIME)) {
    await server.stop();
    throw new Error(`${env.COFFERDAM_DEFAULT_RUNTIME} is not offered here: see scripts/setup`);
  }
  provide('server', {
    url: server.url,
    key: server.key,
    otherKey: server.keys.other,
    pid: server.pid,
    dataDir: server.dataDir,
  });
  return async () => {
    if (!isAlive(server.pid)) throw new Error(`the server is gone\n${server.log().slice(-8000)}`);
    const children = childrenOf(server.pid);
    const code = await server.stop();
    const left = await sandboxes(server.worker());
    const faults = [
      ...(code === 0 ? [] : [`the server ended with ${code}`]),
      ...left.map((id) => `the sandbox ${id} is left`),
      ...children.filter(isAlive).map((pid) => `the child process ${pid} is left`),
    ];
    if (faults.length > 0) throw new Error(`${faults.join('\n')}\n${server.log().slice(-4000)}`);
  };
}
