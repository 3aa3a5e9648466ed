/** G8 on an engine that others use as well: the sweep takes what a dead worker of its installation left, and nothing else. */
import { randomBytes } from 'node:crypto';
import { afterEach, expect, test } from 'vitest';
import { keys } from '../../shared/queue/keys.ts';
import { until } from '../e2e/watching.ts';
import { docker } from '../helpers/docker.ts';
import { nonceJob } from './kit/client.ts';
import { startTrial, type Trial } from './kit/trial.ts';

const IMAGE = 'cofferdam-image/base';
const LATER_MS = 3_600_000;

let trial: Trial;
const made: string[] = [];
afterEach(async () => {
  for (const id of made.splice(0)) await docker('rm', '-f', id).catch(() => {});
  await trial.stop();
});

/** A container that was created and never started, as its maker would have labelled it. */
async function aContainer(
  labels: Readonly<Record<string, string>>,
  ...name: string[]
): Promise<string> {
  const given = Object.entries(labels).flatMap(([name, value]) => ['--label', `${name}=${value}`]);
  const id = await docker('create', '--network', 'none', ...name, ...given, IMAGE, 'true');
  made.push(id);
  return id;
}

function sandboxOf(worker: string, installation: string): Promise<string> {
  const nonce = randomBytes(16).toString('hex');
  const labels = {
    'cofferdam.worker': worker,
    'cofferdam.installation': installation,
    'cofferdam.nonce': nonce,
    'cofferdam.uid': '200000',
    'cofferdam.deadline': String(Date.now() + LATER_MS),
  };
  // The name by which the sweep removes it.
  return aContainer(labels, '--name', `cofferdam-${nonce}`);
}

const exists = (id: string): Promise<boolean> =>
  docker('inspect', '--format', '{{.Id}}', id).then(
    () => true,
    () => false,
  );

test('G8: the sweep removes what a dead worker left, and leaves a living one’s, another installation’s and a stranger’s containers', async () => {
  trial = await startTrial();
  const { world, redis } = trial;
  const here = (await redis.get(keys.installation())) as string;
  const api = await world.startApi();
  await world.startWorker();
  const client = trial.clientOf([api]);
  // In a sandbox of a living worker: were it taken for dead, this job would be lost.
  const running = nonceJob('sleep 30', { timeoutMs: 90_000, onLost: 'fail' });
  await client.submitSurely(running);
  await until('it runs', 60_000, () => trial.programs.starts().has(running.nonce));
  const others = [
    await aContainer({}),
    await aContainer({ 'com.example.worker': 'gone' }),
    await sandboxOf('gone', 'another-installation'),
  ];
  const left = await sandboxOf('gone', here);
  await world.startWorker();
  await until('what the dead one left is gone', 60_000, async () => !(await exists(left)));
  const { verdict } = await trial.judge([client], { maxStarts: 1 });
  expect(verdict.outcomes).toEqual({ exited: 1 });
  for (const id of others) expect(await exists(id)).toBe(true);
});
