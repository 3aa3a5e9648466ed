/** What chaos does to a system, one at a time. Each fault is over, and what it ended is up again, when it returns. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Api, Member, Worker } from '../kit/member.ts';
import type { PrivateDockerd } from '../kit/private-dockerd.ts';
import type { RedisServer } from '../kit/redis-servers.ts';
import type { TcpProxy } from '../kit/tcp-proxy.ts';
import type { Random } from './random.ts';

export interface Victims {
  readonly apis: readonly Api[];
  readonly workers: readonly Worker[];
  readonly redis: RedisServer;
  /** Between the workers and Redis. */
  readonly network: TcpProxy;
  readonly engine: PrivateDockerd;
}

export const ENGINE_KILLED = 'dockerd killed';

export interface Fault {
  readonly name: string;
  /** How often it is chosen, beside the others. */
  readonly weight: number;
  strike(random: Random): Promise<void>;
}

export function faultsOn({ apis, workers, redis, network, engine }: Victims): readonly Fault[] {
  const away = (random: Random, mostMs: number): Promise<void> => sleep(random.between(0, mostMs));
  const killAndStart = async (member: Member, random: Random): Promise<void> => {
    await member.kill();
    await away(random, 3_000);
    await member.start();
  };
  const disturb = async (how: () => void, random: Random): Promise<void> => {
    how();
    await sleep(random.between(1_000, 18_000));
    network.heal();
  };

  return [
    { name: 'API killed', weight: 4, strike: (random) => killAndStart(random.pick(apis), random) },
    {
      name: 'worker killed',
      weight: 5,
      strike: (random) => killAndStart(random.pick(workers), random),
    },
    {
      name: 'worker replaced',
      weight: 2,
      async strike(random) {
        const worker = random.pick(workers);
        await worker.kill('SIGTERM');
        await worker.start();
      },
    },
    {
      name: 'worker stopped and continued',
      weight: 2,
      async strike(random) {
        const worker = random.pick(workers);
        worker.signal('SIGSTOP');
        await sleep(random.between(1_000, 25_000));
        worker.signal('SIGCONT');
      },
    },
    {
      name: 'Redis killed',
      weight: 3,
      async strike(random) {
        await redis.kill();
        await away(random, 3_000);
        await redis.start();
      },
    },
    {
      name: ENGINE_KILLED,
      weight: 2,
      async strike(random) {
        await engine.kill(random.pick(['SIGKILL', 'SIGTERM']));
        await away(random, 2_000);
        await engine.start();
      },
    },
    {
      name: 'dockerd stopped and continued',
      weight: 1,
      async strike(random) {
        engine.pause();
        await sleep(random.between(1_000, 15_000));
        engine.resume();
      },
    },
    {
      name: 'workers cut off from Redis',
      weight: 2,
      strike: (random) => disturb(random.pick([network.cut, network.hold]), random),
    },
    {
      name: 'replies to workers lost',
      weight: 1,
      strike: (random) => disturb(network.dropReplies, random),
    },
  ];
}

export function chooseFault(faults: readonly Fault[], random: Random): Fault {
  const all = faults.flatMap((fault) => Array<Fault>(fault.weight).fill(fault));
  return random.pick(all);
}
