/**
 * Whether more can be taken on: asked before anything is accepted, answered from figures that are looked at every
 * second. What is over its bound is refused with 503 and a time to come back; what was accepted before is not touched.
 */
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import type { Redis } from 'ioredis';
import type { Settings } from '../../shared/config/settings.ts';
import { LANES, type Lane } from '../../shared/contract/lane.ts';
import { AppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { Metrics } from '../../shared/metrics.ts';
import { besideOurKeys } from '../../shared/queue/connection.ts';
import { readQueueAges } from '../../shared/queue/queue-age.ts';

const LOOK_MS = 1_000;
/** Redis must have room for what was accepted to end: results are larger than what waits. */
const MEMORY_PART = 0.9;
/** A process whose loop is late by so much, at the median, answers nobody in time. */
const MAX_LOOP_DELAY_MS = 1_000;
/** So late a loop is measured less than once a look, and the first time after a reset does not count. */
const MIN_DELAYS = 5;
const RETRY_AFTER_SECONDS = 5;

export interface Pressure {
  /** Throws when a submission to this lane cannot be taken on. */
  require(lane: Lane): void;
  start(): void;
  stop(): void;
}

export function createPressure(options: {
  redis: Redis;
  settings: Pick<Settings, 'maxRedisBytes' | 'maxQueueAgeMs'>;
  metrics: Metrics;
  log: Log;
}): Pressure {
  const { redis, log } = options;
  const { maxRedisBytes, maxQueueAgeMs } = options.settings;
  const loop = monitorEventLoopDelay({ resolution: 20 });
  let figures = { redisBytes: 0, redisRoom: maxRedisBytes, loopDelayMs: 0 };
  let agesMs: Readonly<Record<Lane, number>> = { interactive: 0, bulk: 0 };
  let timer: NodeJS.Timeout | undefined;

  let isLooking = false;
  const look = async (): Promise<void> => {
    // Where Redis is slow, or this process, a look takes longer than the pause between two.
    if (isLooking) return;
    isLooking = true;
    try {
      const { usedBytes, maxBytes } = await readMemory(redis);
      const room = Math.min(maxRedisBytes, maxBytes || Number.POSITIVE_INFINITY);
      agesMs = await readQueueAges(redis, Date.now());
      const loopDelayMs = medianMs(loop) ?? figures.loopDelayMs;
      figures = { redisBytes: usedBytes, redisRoom: room, loopDelayMs };
    } catch (error) {
      log.debug({ err: error }, 'the load could not be looked at');
    } finally {
      isLooking = false;
    }
  };
  options.metrics.gauge('redis_used_bytes', 'Memory that Redis uses.', [], (set) =>
    set(figures.redisBytes),
  );
  options.metrics.gauge('queue_age_seconds', 'Wait of the next job.', ['lane'], (set) => {
    for (const lane of LANES) set(agesMs[lane] / 1000, lane);
  });

  return {
    require(lane) {
      const { redisBytes, redisRoom, loopDelayMs } = figures;
      if (redisBytes > redisRoom * MEMORY_PART) {
        throw overloaded(`Redis holds ${redisBytes} of ${redisRoom} bytes`);
      }
      if (loopDelayMs > MAX_LOOP_DELAY_MS) {
        throw overloaded(`this process is ${Math.round(loopDelayMs)} ms late`);
      }
      if (lane === 'interactive' && agesMs.interactive > maxQueueAgeMs) {
        throw overloaded(`jobs wait for ${Math.round(agesMs.interactive / 1000)} s already`);
      }
    },
    start() {
      loop.enable();
      timer = setInterval(() => void look(), LOOK_MS);
    },
    stop() {
      clearInterval(timer);
      loop.disable();
    },
  };
}

const overloaded = (detail: string): AppError =>
  new AppError('OVERLOADED', { detail, retryAfterSeconds: RETRY_AFTER_SECONDS });

/** Since it last had an answer; undefined until there is one. */
function medianMs(loop: IntervalHistogram): number | undefined {
  if (loop.count < MIN_DELAYS) return undefined;
  const ms = loop.percentile(50) / 1e6;
  loop.reset();
  return ms;
}

async function readMemory(redis: Redis): Promise<{ usedBytes: number; maxBytes: number }> {
  const info = String(await besideOurKeys(redis, (behind) => behind.info('memory')));
  const figure = (name: string): number =>
    Number(info.match(new RegExp(`^${name}:(\\d+)`, 'm'))?.[1] ?? 0);
  return { usedBytes: figure('used_memory'), maxBytes: figure('maxmemory') };
}
