/** `cofferdam doctor --security`: the machine, the engine and Redis as an attacker would look at them. */
import { readFileSync, statSync } from 'node:fs';
import { parseSettings } from '../../../shared/config/settings.ts';
import { createLog } from '../../../shared/log.ts';
import { connectRedis, waitUntilReady } from '../../../shared/queue/connection.ts';
import { checking, type Finding, ok } from '../finding.ts';
import {
  daemonFindings,
  engineVersionFindings,
  parentFindings,
  socketFinding,
} from './engine-findings.ts';
import { kernelFindings, swapFinding } from './kernel-settings.ts';
import { redisSecurityFindings } from './redis-findings.ts';

const REDIS_WITHIN_MS = 3_000;

const read = (file: string): string | undefined => {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
};

const modeOf = (address: string): number | undefined =>
  statSync(address.replace('unix://', ''), { throwIfNoEntry: false })?.mode;

export async function examineSecurity(
  env: Readonly<Record<string, string | undefined>>,
): Promise<Finding[]> {
  const settings = parseSettings(env);
  const isLocal = settings.engine.startsWith('unix://');
  return [
    ...(await engineFindings(settings.engine)),
    socketFinding(settings.engine, isLocal ? modeOf(settings.engine) : undefined),
    // Of another machine nothing can be read here.
    ...(isLocal ? [...parentFindings(read), ...kernelFindings(read), swapFinding(read)] : []),
    ...(await redisFindings(settings.redisUrl)),
  ];
}

const engineFindings = (address: string): Promise<Finding[]> =>
  checking('engine', 'scripts/setup installs and starts Docker Engine', async () => {
    // Here alone: the engine's client is heavy, and no other command has a use for it.
    const { openDocker, parseEngineAddress } = await import('../../worker/sandbox/docker.ts');
    const info = await import('../../worker/sandbox/docker-info.ts');
    const docker = openDocker(parseEngineAddress(address));
    return [
      ...engineVersionFindings(await info.readEngineVersions(docker)),
      ...daemonFindings(await info.readEngineInfo(docker)),
    ];
  });

const redisFindings = (url: string | undefined): Promise<Finding[]> =>
  checking('redis', 'start it, or correct COFFERDAM_REDIS_URL', async () => {
    if (url === undefined) return [ok('redis way', 'embedded, on a socket of its owner')];
    const redis = connectRedis({ url }, 'request', createLog('silent'));
    try {
      await waitUntilReady(redis, REDIS_WITHIN_MS);
      return await redisSecurityFindings(redis, url);
    } finally {
      redis.disconnect();
    }
  });
