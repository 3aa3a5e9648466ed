/** The tool `sandbox_info`: images, limits, what the caller may have open, and how full the queue is. */
import { z } from 'zod';
import { keys } from '../../../shared/queue/keys.ts';
import type { Caller } from '../auth.ts';
import { type Info, info } from '../routes/info.ts';
import type { McpParts } from './parts.ts';
import { defineTool, HINTS, type McpTool } from './tool.ts';

const count = z.int().nonnegative();

const output = info
  .pick({ version: true, images: true, defaultImage: true, runtimes: true, limits: true })
  .extend({
    quotas: z.strictObject({
      openJobs: count.describe('Your jobs that wait or run.'),
      maxOpenJobs: count.nullable().describe('Null: no bound of your own.'),
      runningJobs: count,
      maxRunningJobs: count.nullable(),
    }),
    queue: z.strictObject({
      waitingJobs: count.describe('Of everyone.'),
      slots: count.describe('Jobs that can run at once.'),
      freeSlots: count,
      startsAtOnce: z.boolean().describe('Whether a job sent now would start at once.'),
    }),
  });

type Output = z.output<typeof output>;

export const sandboxInfoTool = (parts: McpParts): McpTool =>
  defineTool({
    name: 'sandbox_info',
    title: 'What the sandboxes offer',
    description:
      'The images, the limits with their defaults and ceilings, how many jobs you may have at once, and how full the queue is.',
    hints: HINTS.READ_ONLY,
    scopes: [],
    input: z.strictObject({}),
    output,
    isJudgedHere: true,
    async run(_args, { caller }) {
      const { version, images, defaultImage, runtimes, limits, ...rest } = await parts.info();
      const structured = {
        version,
        images,
        defaultImage,
        runtimes,
        limits,
        quotas: await quotasOf(parts, caller),
        queue: queueOf(rest),
      };
      return { text: textOf(structured), structured, isError: false };
    },
  });

async function quotasOf({ redis, admit }: McpParts, caller: Caller): Promise<Output['quotas']> {
  const { maxOpenJobs, maxRunningJobs } = admit.shareOf(caller);
  const [open, running] = await Promise.all([
    redis.hget(keys.tenantsOpen(), caller.tenant),
    redis.hget(keys.tenantsRunning(), caller.tenant),
  ]);
  return {
    openJobs: Number(open ?? 0),
    maxOpenJobs: maxOpenJobs > 0 ? maxOpenJobs : null,
    runningJobs: Number(running ?? 0),
    maxRunningJobs,
  };
}

function queueOf({ openJobs, workers }: Pick<Info, 'openJobs' | 'workers'>): Output['queue'] {
  const slots = workers.reduce((sum, worker) => sum + worker.slots, 0);
  const running = workers.reduce((sum, worker) => sum + worker.running, 0);
  const waitingJobs = Math.max(0, openJobs - running);
  const freeSlots = Math.max(0, slots - running);
  return { waitingJobs, slots, freeSlots, startsAtOnce: freeSlots > waitingJobs };
}

function textOf({ images, defaultImage, limits, quotas, queue }: Output): string {
  const names = images.map(({ name, script }) => (script ? name : `${name} (no script)`));
  const shown = Object.entries(limits).map(
    ([name, limit]) => `${name} ${limit.default ?? 'derived'} (at most ${limit.ceiling})`,
  );
  const { openJobs, maxOpenJobs } = quotas;
  return [
    `Images: ${names.join(', ')}; default ${defaultImage}.`,
    `Limits: ${shown.join(', ')}.`,
    `You have ${openJobs} jobs open${maxOpenJobs === null ? '' : ` of ${maxOpenJobs}`}.`,
    `Queue: ${queue.waitingJobs} jobs wait, ${queue.freeSlots} of ${queue.slots} slots are free; a job sent now ${queue.startsAtOnce ? 'starts at once' : 'has to wait'}.`,
    'Sandboxes have no network.',
  ].join('\n');
}
