/**
 * The output of a running job while somebody follows it. A follower marks the job and says so to every worker; the one
 * that runs it puts what the job writes into a list, piece by piece, under a key of this start. Nothing is written for a
 * job that nobody follows, and nothing in the list is anybody's source of truth: the stored result is.
 */
import type { Redis } from 'ioredis';
import type { JobState } from '../contract/result.ts';
import { channels, keys } from './keys.ts';
import { defineScript } from './script.ts';

export interface LivePiece {
  readonly step: number;
  readonly stream: 'stdout' | 'stderr';
  /** Of its first byte in the stream of its step. */
  readonly offset: number;
  readonly bytes: Buffer;
}

/* KEYS job */
const FOLLOW = defineScript(`
  local state = redis.call('HGET', KEYS[1], 'state')
  if not state or state == 'done' then return 0 end
  redis.call('HSET', KEYS[1], 'followed', 1)
  redis.call('PUBLISH', ARGV[2], ARGV[1])
  return 1
`);

/** Asks for the live output of a job; of one that is done there is none. A message can be missed: ask again. */
export async function followJob(redis: Redis, id: string): Promise<void> {
  await FOLLOW.run(redis, [keys.job(id)], [id, channels.follows()]);
}

/* KEYS job, live output of the start */
const APPEND = defineScript(`
  local known = redis.call('HMGET', KEYS[1], 'state', 'fence')
  if known[1] ~= 'running' or known[2] ~= ARGV[1] then return 0 end
  for at = 3, #ARGV do redis.call('RPUSH', KEYS[2], ARGV[at]) end
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
  return 1
`);

/** Adds what a start wrote. False once that start does not count any more, or has ended. */
export async function appendLive(
  redis: Redis,
  live: { id: string; start: number; keepMs: number; pieces: readonly LivePiece[] },
): Promise<boolean> {
  const { id, start, keepMs, pieces } = live;
  const entries = pieces.map(encodePiece);
  const touched = [keys.job(id), keys.live(id, start)];
  return (await APPEND.run(redis, touched, [start, keepMs, ...entries])) === 1;
}

export async function dropLive(redis: Redis, live: { id: string; start: number }): Promise<void> {
  await redis.unlink(keys.live(live.id, live.start));
}

export interface LiveView {
  readonly state: JobState;
  /** How often the job was started, as its result counts it. */
  readonly attempt: number;
  /** The fencing token of the newest start. */
  readonly start: number;
  /** Of the start that was asked for; they count only while it is the newest. */
  readonly pieces: readonly LivePiece[];
}

/** So many pieces are read at once: what a follower holds in memory. */
const PIECES_AT_ONCE = 4;

/** The state of a job and the next pieces of one start; undefined where there is no such job. */
export async function readLive(
  redis: Redis,
  from: { id: string; start: number; index: number },
): Promise<LiveView | undefined> {
  const last = from.index + PIECES_AT_ONCE - 1;
  const replies = await redis
    .pipeline()
    .lrangeBuffer(keys.live(from.id, from.start), from.index, last)
    .hmget(keys.job(from.id), 'state', 'starts', 'fence')
    .exec();
  for (const [error] of replies ?? []) if (error) throw error;
  const entries = (replies?.[0]?.[1] ?? []) as Buffer[];
  const [state, starts, fence] = (replies?.[1]?.[1] ?? []) as (string | null)[];
  if (typeof state !== 'string') return undefined;
  return {
    state: state as JobState,
    attempt: Number(starts),
    start: Number(fence ?? 0),
    pieces: entries.map(decodePiece),
  };
}

const encodePiece = ({ step, stream, offset, bytes }: LivePiece): Buffer =>
  Buffer.concat([Buffer.from(`${step} ${stream} ${offset}\n`), bytes]);

const HEAD = /^(\d{1,4}) (stdout|stderr) (\d{1,15})$/;

/** Nothing that comes out of Redis is trusted, ours included. */
function decodePiece(entry: Buffer): LivePiece {
  const end = entry.indexOf('\n');
  const [, step, stream, offset] = entry.subarray(0, Math.max(end, 0)).toString().match(HEAD) ?? [];
  if (step === undefined) throw new Error('a piece of live output cannot be read');
  return {
    step: Number(step),
    stream: stream as LivePiece['stream'],
    offset: Number(offset),
    bytes: entry.subarray(end + 1),
  };
}
