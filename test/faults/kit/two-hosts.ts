/**
 * Two hosts within this one, each with a network, an engine and a worker of its own; one Redis, which both reach through
 * their cable, and one API.
 */

import { keys } from '../../../shared/queue/keys.ts';
import { until } from '../../e2e/watching.ts';
import { KEEPS_EVERYTHING, startOperatorsRedis } from '../../helpers/redis.ts';
import { type Client, nonceJob } from './client.ts';
import type { Worker } from './member.ts';
import { createNetworkNamespace, type NetworkNamespace } from './network-namespace.ts';
import { type PrivateDockerd, startPrivateDockerd } from './private-dockerd.ts';
import { openPrivateHost } from './private-host.ts';
import { STOCK, startTrial, type Trial } from './trial.ts';

/** What a job's way to another host may take. */
export const ELSEWHERE_WITHIN_MS = 30_000;
const RUNS_WITHIN_MS = 60_000;
const QUIET_WITHIN_MS = 30_000;

export interface Host {
  readonly network: NetworkNamespace;
  readonly dockerd: PrivateDockerd;
  readonly worker: Worker;
}

export interface TwoHosts {
  readonly trial: Trial;
  readonly client: Client;
  readonly one: Host;
  readonly other: Host;
  stop(): Promise<void>;
}

export async function startTwoHosts(): Promise<TwoHosts> {
  const releases: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    for (let release = releases.pop(); release !== undefined; release = releases.pop()) {
      await release();
    }
  };
  const aNetwork = async (): Promise<NetworkNamespace> => {
    const network = await createNetworkNamespace();
    releases.push(() => network.remove());
    return network;
  };
  const anEngine = async (network: NetworkNamespace): Promise<PrivateDockerd> => {
    const dockerd = await startPrivateDockerd({ host: await openPrivateHost(network) });
    releases.push(() => dockerd.close());
    return dockerd;
  };

  try {
    const networks = [await aNetwork(), await aNetwork()] as const;
    const redis = await startOperatorsRedis(
      ...KEEPS_EVERYTHING,
      ...['--bind', '127.0.0.1', ...networks.map(({ outside }) => outside)],
      ...['--protected-mode', 'no'],
    );
    releases.push(redis.stop);
    const engines = [await anEngine(networks[0]), await anEngine(networks[1])] as const;
    const trial = await startTrial({ redisUrl: redis.url });
    releases.push(() => trial.stop());
    const api = await trial.world.startApi();
    const { port } = new URL(redis.url);
    const aHost = async (network: NetworkNamespace, dockerd: PrivateDockerd): Promise<Host> => {
      const worker = await trial.world.startWorker({
        within: ['nsenter', `--net=/run/netns/${network.name}`, '--'],
        env: {
          COFFERDAM_ENGINE: dockerd.address,
          COFFERDAM_REDIS_URL: `redis://${network.outside}:${port}`,
        },
      });
      return { network, dockerd, worker };
    };
    const one = await aHost(networks[0], engines[0]);
    const other = await aHost(networks[1], engines[1]);
    return { trial, client: trial.clientOf([api]), one, other, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

export interface RunningJob {
  readonly id: string;
  readonly nonce: string;
  /** The id of the worker that has it. */
  readonly worker: string;
}

/** Jobs that run now: as many as both hosts have slots. */
export async function jobsOnBoth({ client, trial }: TwoHosts, then: string): Promise<RunningJob[]> {
  const jobs = Array.from({ length: 4 }, () => nonceJob(then, { timeoutMs: 60_000 }));
  const ids = await Promise.all(jobs.map((job) => client.submitSurely(job)));
  await until('all run', RUNS_WITHIN_MS, () =>
    jobs.every(({ nonce }) => trial.programs.starts().has(nonce)),
  );
  return Promise.all(
    jobs.map(async ({ nonce }, at) => {
      const id = ids[at] as string;
      return { id, nonce, worker: (await trial.redis.hget(keys.job(id), 'worker')) ?? '' };
    }),
  );
}

/** Once it is quiet, nothing but the stock is left on these. */
export async function atMostStock(...hosts: readonly Host[]): Promise<void> {
  for (const { dockerd } of hosts) {
    await until('only the stock is left', QUIET_WITHIN_MS, async () => {
      return (await dockerd.sandboxes()).length <= STOCK;
    });
  }
}
