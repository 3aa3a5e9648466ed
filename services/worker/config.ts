/** What of the settings a worker uses. */
import os from 'node:os';
import path from 'node:path';
import { defaultWorkspaceMb } from '../../shared/config/limits.ts';
import type { Settings } from '../../shared/config/settings.ts';
import { packageRoot } from '../../shared/images.ts';
import { REPORT_GRACE_MS } from './execution.ts';
import { REUSE } from './pool/groups.ts';
import { parseEngineAddress } from './sandbox/docker.ts';
import type { Shape } from './sandbox/sandbox.ts';

/** Beside a job's own time: what a sandbox may take to report and to be removed. */
const LIFE_GRACE_MS = REPORT_GRACE_MS + 5_000;
/** A guest that was never leased ends itself this long after the pool should have replaced it. */
const IDLE_GRACE_S = 60;

/** A burst of so many jobs for each slot finds its sandboxes made. */
const MAX_READY_PER_SLOT = 4;
/** What a ready sandbox costs the host: nearly all of it is the engine's own process beside each container. */
const READY_BYTES = 15 * 1024 * 1024;
const READY_MEMORY_PART = 0.1;

export const workerConfig = (settings: Settings) => ({
  engine: parseEngineAddress(settings.engine),
  guestFile: path.join(packageRoot, 'build/guest'),
  slots: settings.slots,
  reservedSlots: settings.reservedSlots,
  poolReady: settings.poolReady,
  poolMaxReady: settings.poolMaxReady ?? defaultMaxReady(settings),
  poolMaxAgeMs: settings.poolMaxAgeMs,
  drainMs: settings.drainMs,
  streamBytes: settings.streamBytes,
  blobCacheBytes: settings.blobs.cacheBytes,
  maxOpenFiles: settings.limits.openFiles.ceiling,
  maxProcesses: settings.limits.processes.ceiling,
  maxLifeMs: REUSE.ageMs + settings.limits.timeoutMs.ceiling + LIFE_GRACE_MS,
  idleSeconds: Math.ceil(settings.poolMaxAgeMs / 1000) + IDLE_GRACE_S,
  runtimes: settings.runtimes.allowed,
  firstShape: firstShape(settings),
});

/** The most that are kept ready, within what the host has room for; never fewer than the least. */
function defaultMaxReady({ slots, poolReady }: Settings): number {
  const room = Math.floor((os.totalmem() * READY_MEMORY_PART) / READY_BYTES);
  return Math.max(poolReady, Math.min(slots * MAX_READY_PER_SLOT, room));
}

/** What a job asks for that names no image and no limit. */
const firstShape = ({ limits, defaultImage, runtimes }: Settings): Shape => ({
  image: defaultImage,
  runtime: runtimes.default,
  memoryMb: limits.memoryMb.default as number,
  cpus: limits.cpus.default as number,
  processes: limits.processes.default as number,
  workspaceMb: defaultWorkspaceMb(limits.memoryMb.default as number, limits.workspaceMb.default),
});

export type WorkerConfig = ReturnType<typeof workerConfig>;
