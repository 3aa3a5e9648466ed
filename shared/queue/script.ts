/** A Lua script that is sent by its digest, and whole where Redis does not know it (first use, SCRIPT FLUSH, failover). */
import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';
import { besideOurKeys } from './connection.ts';

export type ScriptArgument = string | number | Buffer;

export interface Script {
  /** Makes the script known ahead of its first use, which is then as fast as any. */
  load(redis: Redis): Promise<unknown>;
  /** How often Redis had forgotten it, so that it ran one round trip later than it was sent. */
  readonly reloads: number;
  run(redis: Redis, keys: readonly string[], args: readonly ScriptArgument[]): Promise<unknown>;
}

export function defineScript(lua: string): Script {
  const digest = createHash('sha1').update(lua).digest('hex');
  let reloads = 0;
  return {
    get reloads() {
      return reloads;
    },
    load: (redis) => besideOurKeys(redis, (behind) => behind.script('LOAD', lua)),
    async run(redis, keys, args) {
      try {
        return await redis.evalsha(digest, keys.length, ...keys, ...args);
      } catch (error) {
        if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error;
        reloads++;
        return redis.eval(lua, keys.length, ...keys, ...args);
      }
    },
  };
}
