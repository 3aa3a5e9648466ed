/** What a client hears while it waits for a job: its place in the queue, that it runs, the last line it wrote. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { type JobRecord, readRecord } from '../../../shared/queue/job-record.ts';
import { followJob, readLive } from '../../../shared/queue/live.ts';
import { prioritizedKey } from '../../../shared/queue/queue-age.ts';
import type { Notify } from './tool.ts';

/** Twice a second at most. */
const LOOK_MS = 500;
const SHOWN_LINE = 200;
/** A line is looked for in so much of the newest output. */
const TAIL_CHARS = 4_096;

/** Until the signal says so or the job is done. Progress is a courtesy: a failure of Redis only ends it. */
export async function reportProgress(
  redis: Redis,
  job: { id: string; notify: Notify; signal: AbortSignal },
): Promise<void> {
  const { id, notify, signal } = job;
  const output = createLastLine(redis, id);
  let told = '';
  try {
    while (!signal.aborted) {
      const record = await readRecord(redis, id);
      if (record?.state === 'done') return;
      const message = record === undefined ? '' : await messageOf(redis, id, record, output);
      if (message !== '' && message !== told && !signal.aborted) notify(message);
      told = message;
      await sleep(LOOK_MS, undefined, { signal });
    }
  } catch {
    // Whoever waits for the job hears of its end all the same.
  }
}

async function messageOf(
  redis: Redis,
  id: string,
  record: JobRecord,
  output: LastLine,
): Promise<string> {
  if (record.state === 'awaiting_approval') return 'waits for approval';
  if (record.state === 'queued') {
    const ahead = await redis.zrank(prioritizedKey(record.lane), id);
    return ahead === null ? 'queued' : `queued, position ${ahead + 1}`;
  }
  const line = await output.read();
  return line === '' ? 'running' : `running: ${line}`;
}

interface LastLine {
  read(): Promise<string>;
}

function createLastLine(redis: Redis, id: string): LastLine {
  let start = 0;
  let index = 0;
  let tail = '';
  return {
    async read() {
      if (index === 0) await followJob(redis, id);
      for (;;) {
        const seen = await readLive(redis, { id, start, index });
        if (seen === undefined) return '';
        const isNewStart = seen.start !== start;
        if (isNewStart) {
          start = seen.start;
          index = 0;
          tail = '';
          continue;
        }
        for (const { bytes } of seen.pieces) {
          tail = (tail + bytes.toString('utf8')).slice(-TAIL_CHARS);
        }
        index += seen.pieces.length;
        if (seen.pieces.length === 0) return lastLineOf(tail);
      }
    },
  };
}

function lastLineOf(text: string): string {
  const line = text
    .split(/[\r\n]+/)
    .map((one) => one.trim())
    .filter((one) => one !== '')
    .at(-1);
  // Control characters may speak to the terminal that a client runs in.
  return (line ?? '').replace(/\p{Cc}+/gu, ' ').slice(0, SHOWN_LINE);
}
