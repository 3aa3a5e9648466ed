/** What goes wrong, when its step has come. */
import type { Fault, Plan } from './plan.ts';
import type { World } from './world.ts';

/** What is planned happens as the steps pass; answers how much of it is still to come. */
export function schedule(
  world: World,
  { jobs, faults }: Plan,
): { due: () => void; left: () => number } {
  const acts = jobs.flatMap((job): { atStep: number; act: () => void }[] => {
    const { atStep, cancelAtStep } = job;
    let client: ReturnType<World['submit']> | undefined;
    const submit = (): void => {
      client = world.submit(job);
    };
    const cancel = (): void => void client?.cancel();
    const acts = [{ atStep, act: submit }];
    return cancelAtStep === null ? acts : [...acts, { atStep: cancelAtStep, act: cancel }];
  });
  acts.push(...faults.map((fault) => ({ atStep: fault.atStep, act: () => strike(world, fault) })));
  const coming = acts.toSorted((one, other) => one.atStep - other.atStep);
  return {
    due() {
      while (coming[0] !== undefined && coming[0].atStep <= world.steps) coming.shift()?.act();
    },
    left: () => coming.length,
  };
}

function strike(world: World, fault: Fault): void {
  const { host, clock, queue, living } = world;
  const worker = 'nth' in fault ? living[fault.nth % Math.max(1, living.length)] : undefined;
  switch (fault.kind) {
    case 'worker_dies':
      return worker && world.killWorker(worker, fault.arrive);
    case 'worker_drains':
      return worker && world.drainWorker(worker);
    case 'worker_is_cut':
      if (worker !== undefined) worker.mortal.cutUntilMs = clock.elapsedMs + fault.ms;
      return;
    case 'api_dies':
      return world.killApi();
    case 'engine_fails':
      host.failsUntilMs = clock.elapsedMs + fault.ms;
      return;
    case 'engine_hangs':
      host.hangsUntilMs = clock.elapsedMs + fault.ms;
      return;
    case 'engine_restarts':
      return host.restart();
    case 'sandbox_goes':
      return host.evict(fault.nth);
    case 'delivered_twice': {
      const one = queue.active[fault.nth % Math.max(1, queue.active.length)];
      return one && queue.enqueue(one);
    }
    case 'not_delivered':
      queue.waiting.splice(fault.nth, 1);
      return;
    case 'clocks_jump':
      return clock.jump(fault.ms);
    case 'redis_clock_jumps':
      return clock.jumpRedis(60_000);
    default:
      fault satisfies never;
  }
}
