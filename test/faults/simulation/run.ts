/** One seed: everything that is planned happens, then calm returns, and what was promised is looked at. */
import type { Scheduler } from 'fast-check';
import { Clock } from './clock.ts';
import { schedule } from './faults.ts';
import type { Plan } from './plan.ts';
import { brokenPromises, leaks } from './promises.ts';
import { seedRandomness } from './randomness.ts';
import { World } from './world.ts';

/** After the last fault: the longest time to start, the sweep's limit for a start, and the pauses between tries. */
const ENDS_WITHIN_MS = 10 * 60_000;
const CALM_WITHIN_MS = 2 * 60_000;
const STOPS_WITHIN_MS = 60_000;

export interface Seen {
  readonly world: World;
  readonly broken: readonly string[];
}

export async function simulate(scheduler: Scheduler, plan: Plan): Promise<Seen> {
  const clock = new Clock();
  clock.start();
  try {
    seedRandomness(plan.randomness);
    const world = new World(scheduler, clock, plan);
    return { world, broken: await play(world, plan) };
  } finally {
    clock.stop();
  }
}

async function play(world: World, plan: Plan): Promise<string[]> {
  const planned = schedule(world, plan);
  const areDone = (): boolean =>
    world.clients.every(({ id }) => id !== undefined && world.records.isDone(id));
  const haveEnded = await world.runUntil(
    () => planned.left() === 0 && areDone(),
    ENDS_WITHIN_MS,
    planned.due,
  );
  const broken = haveEnded ? [] : ['not every job has ended'];
  broken.push(...(await recovers(world, plan, areDone)));
  broken.push(...brokenPromises(world, plan));
  broken.push(...(await stops(world)));
  return broken;
}

/** Every slot of every worker takes a job again: they end only once all of them run at the same time. */
async function recovers(
  world: World,
  { workers, slots }: Plan,
  areDone: () => boolean,
): Promise<string[]> {
  const count = workers * slots;
  const isUp = (): boolean =>
    world.living.length >= workers && world.living.every(({ process }) => process !== undefined);
  if (!(await world.runUntil(isUp, CALM_WITHIN_MS))) return ['not all workers are back'];
  for (let at = 0; at < count; at++) {
    world.submit({ behaviour: 'meets', lastsMs: count, onLost: 'retry', expiresInMs: 60_000 });
  }
  if (!(await world.runUntil(areDone, CALM_WITHIN_MS))) return ['a slot has not come back'];
  const isClean = (): boolean => leaks(world).length === 0;
  return (await world.runUntil(isClean, CALM_WITHIN_MS)) ? [] : leaks(world);
}

async function stops(world: World): Promise<string[]> {
  let left = 0;
  for (const { mortal, process } of world.workers) {
    if (mortal.isDead) continue;
    left++;
    void process?.lifecycle.stop().then(() => left--);
  }
  if (!(await world.runUntil(() => left === 0, STOPS_WITHIN_MS))) return ['a worker does not stop'];
  const { size } = world.host.containers;
  return size === 0 ? [] : [`${size} sandboxes are left when all workers have stopped`];
}
