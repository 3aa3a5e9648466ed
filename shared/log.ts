/** One JSON object a line on stderr, with what must never be logged taken out wherever it turns up. */
import { destination, type Logger, pino } from 'pino';

export type Log = Logger;

const NEVER_LOGGED = [
  'req.headers.authorization',
  'authorization',
  'key',
  'devKey',
  'stdin',
  'env',
  'files',
  'spec',
  'redisUrl',
];

export const createLog = (level: string): Log =>
  pino(
    {
      level,
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: NEVER_LOGGED.flatMap((name) => [name, `*.${name}`]), remove: true },
    },
    destination({ fd: 2, sync: false }),
  );
