/** What must hold when everything is over, whatever happened: G1 to G6 and G8, in the words of docs/guarantees.md. */
import { type JobResult, jobResult } from '../../../shared/contract/result.ts';
import { keys } from '../../../shared/queue/keys.ts';
import { MAX_STARTS } from '../../../shared/queue/options.ts';
import type { Client } from './client.ts';
import type { Plan } from './plan.ts';
import type { World } from './world.ts';

/** A worker that lost its lock has ended its program within a renewal, and what it takes to say so to a guest. */
const OVERLAP_MS = 12_000;
const OPEN_KEYS = [
  keys.open(),
  keys.running(),
  keys.unqueued(),
  keys.tenantsOpen(),
  keys.tenantsRunning(),
  keys.tenantParked('default'),
  keys.lane('interactive'),
];

/** What is broken; empty when every promise was kept. */
export function brokenPromises(world: World, plan: Plan): string[] {
  const told = new Map(world.clients.map((client) => [client.id, client]));
  const clocksMove = plan.faults.some(
    ({ kind }) => kind.endsWith('_jump') || kind.endsWith('_jumps'),
  );
  const isDoubled = plan.faults.some(({ kind }) => kind === 'delivered_twice');
  return [
    ...world.records.broken,
    ...[...told.keys()]
      .filter((id) => id !== undefined && !world.jobs().includes(id))
      .map((id) => `${id} is lost`),
    ...world.jobs().flatMap((id) => brokenBy(world, id, told.get(id))),
    ...(clocksMove || isDoubled ? [] : overlaps(world)),
  ];
}

function brokenBy(world: World, id: string, client: Client | undefined): string[] {
  if (client === undefined) return [`${id} was made of a request that has another id`];
  if (!world.records.isDone(id)) return [`${id} has not ended`];
  const result = resultOf(world, id);
  const written = world.records.written.filter(({ job }) => job === id);
  const broken: string[] = [];
  if (written.length !== 1) broken.push(`${id} was settled ${written.length} times`);
  if (written[0]?.text !== world.records.get<string>(keys.result(id))) {
    broken.push(`the result of ${id} was changed`);
  }
  const starts = world.witness.of(id).length;
  const most = client.wish.onLost === 'fail' ? 1 : MAX_STARTS;
  if (starts > most)
    broken.push(`${id} was started ${starts} times, at most ${most} were promised`);
  if (result.ran === 'no' && starts > 0)
    broken.push(`${id} ran, and its result says that it did not`);
  if (result.ran === 'yes' && starts === 0)
    broken.push(`${id} did not run, its result says that it did`);
  return broken;
}

export const resultOf = (world: World, id: string): JobResult =>
  jobResult.parse(JSON.parse(world.records.get<string>(keys.result(id)) ?? 'null'));

/** Two programs of one job at a time: only for as long as a worker may not know that it lost its lock. */
function overlaps({ witness, clock }: World): string[] {
  return witness.runs.flatMap((run) => {
    const before = witness.of(run.job).filter(({ number }) => number < run.number);
    return before
      .map(({ endedAtMs }) => (endedAtMs ?? clock.elapsedMs) - run.startedAtMs)
      .filter((ms) => ms > OVERLAP_MS)
      .map((ms) => `two programs of ${run.job} ran at once for ${ms} ms`);
  });
}

/** What is left while workers wait for jobs: a stock of unused sandboxes, each with its uid, and nothing in Redis. */
export function leaks(world: World): string[] {
  const { records, host, queue, witness } = world;
  const left = OPEN_KEYS.filter((key) => records.entry(key) !== undefined).map(
    (key) => `${key} is left`,
  );
  if (queue.waiting.length + queue.active.length + queue.delayed.length > 0)
    left.push('the queue is not empty');
  if (witness.open.length > 0) left.push(`${witness.open.length} programs still run`);
  let stock = 0;
  for (const { mortal, process } of world.living) {
    const { ready = 0, leased = 0, removing = 0, creating = 0 } = process?.pool.figures() ?? {};
    stock += ready;
    if (leased + removing + creating > 0)
      left.push(`${mortal.name} has not let go of all sandboxes`);
    if (process?.uidsTaken.size !== ready) left.push(`${mortal.name} has not returned all uids`);
  }
  if (host.containers.size !== stock)
    left.push(`${host.containers.size} sandboxes for a stock of ${stock}`);
  return left;
}
