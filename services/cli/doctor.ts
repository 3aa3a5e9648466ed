/** `cofferdam doctor`: looks at everything that a job needs and says how to mend what is not right. */
import { access } from 'node:fs/promises';
import path from 'node:path';
import { parseSettings, type Settings } from '../../shared/config/settings.ts';
import { packageRoot, readCatalogue } from '../../shared/images.ts';
import { createLog } from '../../shared/log.ts';
import { checkRedis } from '../../shared/queue/check.ts';
import { connectRedis, waitUntilReady } from '../../shared/queue/connection.ts';
import type { EngineInfo } from '../worker/sandbox/docker-info.ts';
import { checking, type Finding, fault, ok, warning } from './finding.ts';

const REDIS_WITHIN_MS = 3_000;
const LEAST_NODE = [20, 19] as const;

export async function examine(
  env: Readonly<Record<string, string | undefined>>,
): Promise<Finding[]> {
  const findings: Finding[] = [nodeFinding()];
  let settings: Settings;
  try {
    settings = parseSettings(env);
    findings.push(ok('settings', 'valid'));
  } catch (error) {
    findings.push(fault('settings', (error as Error).message, 'see docs/configuration.md'));
    settings = parseSettings({});
  }
  findings.push(await guestFinding());
  findings.push(...(await redisFindings(settings)));
  findings.push(...(await engineFindings(settings)));
  return findings;
}

function nodeFinding(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const isNew = major > LEAST_NODE[0] || (major === LEAST_NODE[0] && minor >= LEAST_NODE[1]);
  return isNew
    ? ok('node', process.versions.node)
    : fault('node', process.versions.node, `install Node ${LEAST_NODE.join('.')} or newer`);
}

async function guestFinding(): Promise<Finding> {
  const file = path.join(packageRoot, 'build/guest');
  try {
    await access(file);
    return ok('guest', file);
  } catch {
    return fault('guest', 'not built', 'scripts/build-guest');
  }
}

const redisFindings = (settings: Settings): Promise<Finding[]> =>
  checking('redis', 'start it, or correct COFFERDAM_REDIS_URL', async () => {
    if (settings.redisUrl === undefined) {
      const socket = path.resolve(settings.dataDir, 'redis/redis.sock');
      const isRunning = await access(socket).then(
        () => true,
        () => false,
      );
      return [ok('redis', isRunning ? `embedded, at ${socket}` : 'embedded; `serve` starts it')];
    }
    const redis = connectRedis({ url: settings.redisUrl }, 'request', createLog('silent'));
    try {
      await waitUntilReady(redis, REDIS_WITHIN_MS);
      const { version, durability, refusal, faults } = await checkRedis(redis);
      const all = refusal === undefined ? faults : [...faults, refusal];
      if (all.length > 0) return all.map((one) => fault('redis', one, 'see the line'));
      return durability === 'strict'
        ? [ok('redis', `${version}, every write on disk before it is answered`)]
        : [
            warning(
              'redis',
              `${version}, appendfsync is not always: a crash may lose the last second`,
              'CONFIG SET appendfsync always',
            ),
          ];
    } finally {
      redis.disconnect();
    }
  });

const engineFindings = (settings: Settings): Promise<Finding[]> =>
  checking('engine', 'scripts/setup installs and starts Docker Engine', async () => {
    // Here alone: the engine's client is heavy, and no other command has a use for it.
    const { openDocker, parseEngineAddress } = await import('../worker/sandbox/docker.ts');
    const { dockerImages } = await import('../worker/sandbox/docker-images.ts');
    const { readEngineInfo } = await import('../worker/sandbox/docker-info.ts');
    const address = parseEngineAddress(settings.engine);
    const info = await readEngineInfo(openDocker(address));
    const images = dockerImages(address);
    const findings = [
      ok('engine', `Docker ${info.version}, ${info.cores} cores, ${settings.engine}`),
      ...runtimeFindings(info, settings),
      seccompFinding(info),
      ok('cgroups', `version ${info.cgroupVersion}, driver ${info.cgroupDriver}`),
    ];
    for (const image of readCatalogue(settings.imagesFile).values()) {
      const found = await images.inspect(image.reference);
      const what = `image ${image.name}`;
      findings.push(
        found
          ? ok(what, `${image.reference} ${found.digest.slice(0, 19)}`)
          : fault(what, `${image.reference} is not on this engine`, 'scripts/setup'),
      );
    }
    return findings;
  });

/** Without the default nothing runs; without another the jobs that ask for it are refused, as an operator may want. */
const runtimeFindings = ({ runtimes }: EngineInfo, { runtimes: wanted }: Settings): Finding[] =>
  wanted.allowed.map((name) => {
    const what = `runtime ${name}`;
    if (runtimes.includes(name)) return ok(what, 'registered');
    return name === wanted.default
      ? fault(what, 'not registered with the engine', `install ${name}`)
      : ok(what, 'not registered with the engine: jobs that ask for it are refused');
  });

const seccompFinding = ({ securityOptions }: EngineInfo): Finding =>
  securityOptions.some((option) => option.startsWith('name=seccomp'))
    ? ok('seccomp', 'supported')
    : fault(
        'seccomp',
        'not supported by this kernel or engine',
        'use a kernel with CONFIG_SECCOMP',
      );
