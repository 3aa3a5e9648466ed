/** What of the settings a worker uses. */
import path from 'node:path';
import { defaultWorkspaceMb } from '../../shared/config/limits.ts';
import type { Settings } from '../../shared/config/settings.ts';
import { packageRoot } from '../../shared/images.ts';
import { REPORT_GRACE_MS } from './execution.ts';
import { parseEngineAddress } from './sandbox/docker.ts';
import type { Shape } from './sandbox/sandbox.ts';

/** Beside a job's own time: what a sandbox may take to report and to be removed. */
const LIFE_GRACE_MS = REPORT_GRACE_MS + 5_000;
/** A guest that was never leased ends itself this long after the pool should have replaced it. */
const IDLE_GRACE_S = 60;

export const workerConfig = (settings: Settings) => ({
  engine: parseEngineAddress(settings.engine),
  guestFile: path.join(packageRoot, 'build/guest'),
  slots: settings.slots,
  poolReady: settings.poolReady,
  poolMaxAgeMs: settings.poolMaxAgeMs,
  drainMs: settings.drainMs,
  streamBytes: settings.streamBytes,
  maxOpenFiles: settings.limits.openFiles.ceiling,
  maxLifeMs: settings.limits.timeoutMs.ceiling + LIFE_GRACE_MS,
  idleSeconds: Math.ceil(settings.poolMaxAgeMs / 1000) + IDLE_GRACE_S,
  firstShape: firstShape(settings),
});

/** What a job asks for that names no image and no limit. */
const firstShape = ({ limits, defaultImage }: Settings): Shape => ({
  image: defaultImage,
  runtime: 'runc',
  memoryMb: limits.memoryMb.default as number,
  cpus: limits.cpus.default as number,
  processes: limits.processes.default as number,
  workspaceMb: defaultWorkspaceMb(limits.memoryMb.default as number, limits.workspaceMb.default),
});

export type WorkerConfig = ReturnType<typeof workerConfig>;
