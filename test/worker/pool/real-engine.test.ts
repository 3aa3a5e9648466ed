import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDeadline } from '../../../services/worker/deadline.ts';
import { execute } from '../../../services/worker/execution.ts';
import { createGate } from '../../../services/worker/pool/gate.ts';
import { Groups } from '../../../services/worker/pool/groups.ts';
import { Pool } from '../../../services/worker/pool/pool.ts';
import { createRemover } from '../../../services/worker/pool/remover.ts';
import { chooseUidBlock, createUids } from '../../../services/worker/pool/uids.ts';
import { createDockerEngine } from '../../../services/worker/sandbox/docker-engine.ts';
import { dockerImages } from '../../../services/worker/sandbox/docker-images.ts';
import { createImageStore } from '../../../services/worker/sandbox/image-store.ts';
import {
  type SandboxEngine,
  SandboxUnavailableError,
  shapeOf,
} from '../../../services/worker/sandbox/sandbox.ts';
import { packageRoot, readCatalogue } from '../../../shared/images.ts';
import { createLog } from '../../../shared/log.ts';
import { sandboxes } from '../../helpers/docker.ts';
import { eventually } from '../../shared/queue/redis.ts';
import { aSpec } from '../spec.ts';

const ADDRESS = { socketPath: '/var/run/docker.sock' };
const WORKER = `unit-${process.pid}`;
const log = createLog('silent');
const spec = aSpec({ limits: { ...aSpec().limits, memoryMb: 64, workspaceMb: 16 } });

let engine: SandboxEngine;
let pool: Pool;
let groups: Groups;
beforeAll(async () => {
  const [name, image] = [...readCatalogue(undefined)][0] ?? [];
  if (name === undefined || image === undefined) throw new Error('no image');
  const images = createImageStore({
    catalogue: new Map([[name, image]]),
    guestFile: path.join(packageRoot, 'build/guest'),
    transport: dockerImages(ADDRESS),
    log,
  });
  await images.prepare();
  engine = await createDockerEngine({
    address: ADDRESS,
    worker: WORKER,
    installation: 'unit',
    idleSeconds: 60,
    maxOpenFiles: 1024,
    maxProcesses: 512,
    images,
    log,
  });
  const uids = createUids(chooseUidBlock((await engine.list()).map(({ uid }) => uid)));
  const gate = createGate(2);
  const remover = createRemover({ engine, gate, uids, log });
  pool = new Pool({
    engine,
    watch: { isSilent: () => false, onChange: () => {} },
    gate,
    clock: { nowMs: Date.now },
    remover,
    uids,
    target: 1,
    maxReady: 1,
    firstShape: shapeOf(spec),
    maxAgeMs: 600_000,
    maxLifeMs: 60_000,
    log,
  });
  groups = new Groups({ pool, slots: 2, log });
  groups.start();
});
afterAll(async () => {
  await groups.stop();
  expect(await sandboxes(WORKER)).toEqual([]);
});

const run = async (over: Partial<typeof spec> = {}, shape = shapeOf(spec)) => {
  const sandbox = await pool.lease(shape);
  const execution = await execute(
    sandbox,
    { ...spec, ...over },
    { deadline: createDeadline(), streamBytes: 1_000_000, blobs: new Map() },
  );
  pool.retire(sandbox);
  return { sandbox, execution };
};

describe('a pool of real sandboxes', () => {
  it('leases one that runs a job, and it is gone once it is retired', async () => {
    const { sandbox, execution } = await run();
    expect(execution.error).toBeUndefined();
    expect(execution.report?.steps).toMatchObject([{ cause: 0, kind: 0, code: 0 }]);
    await eventually(
      'its removal',
      async () => !(await sandboxes(WORKER)).includes(sandbox.id.slice(0, 12)),
    );
    await eventually('its nonce forgotten', () => !pool.owns(sandbox.nonce));
  });

  it('labels what it makes, so that it is known by worker, nonce and uid', async () => {
    await eventually('stock', () => pool.figures().ready === 1);
    const own = (await engine.list()).filter(({ worker }) => worker === WORKER);
    expect(own.length).toBeGreaterThan(0);
    for (const { uid, deadlineMs, nonce } of own) {
      expect(uid).toBeGreaterThanOrEqual(200_000);
      expect(deadlineMs).toBeGreaterThan(Date.now());
      expect(pool.owns(nonce)).toBe(true);
    }
  });

  it('removes by nonce what exists, and what never did, without a fault', async () => {
    await engine.remove('0'.repeat(32));
    const sandbox = await pool.lease(shapeOf(spec));
    await Promise.all([engine.remove(sandbox.nonce), engine.remove(sandbox.nonce)]);
    pool.retire(sandbox);
  });

  it('says that there is no sandbox for a shape that the engine refuses, and what is left can be removed', async () => {
    const before = (await engine.list()).length;
    const shape = { ...shapeOf(spec), memoryMb: 1 };
    const order = { shape, uid: 299_999, nonce: 'f'.repeat(32), deadlineMs: Date.now() + 60_000 };
    await expect(engine.create(order)).rejects.toThrow(SandboxUnavailableError);
    await engine.remove(order.nonce);
    expect((await engine.list()).length).toBeLessThanOrEqual(before + 1);
    expect((await engine.list()).map(({ nonce }) => nonce)).not.toContain(order.nonce);
  });

  it('feeds stdin of every size to its end', async () => {
    for (const bytes of [0, 1, 65_535, 65_536, 65_537, 70_000, 98_304, 98_305, 200_000]) {
      const steps = [
        { name: 'main', argv: ['wc', '-c'], stdin: 'x'.repeat(bytes), timeoutMs: 5000 },
      ];
      const { execution } = await run({ steps });
      const seen = execution.outputs[0]?.stdout.text.trim();
      expect([bytes, execution.error?.message, seen]).toEqual([bytes, undefined, String(bytes)]);
    }
  });

  it('feeds stdin to its end to a program that reads it in small pieces', async () => {
    for (let round = 0; round < 10; round++) {
      const argv = ['sh', '-c', 'sleep 0.02; dd bs=4096 of=/dev/null 2>/dev/null && echo read'];
      const steps = [{ name: 'main', argv, stdin: 'x'.repeat(150_000), timeoutMs: 5000 }];
      const { execution } = await run({ steps });
      const seen = execution.outputs[0]?.stdout.text.trim();
      expect([round, execution.error?.message, seen]).toEqual([round, undefined, 'read']);
    }
  });
});

describe('a job whose limits differ from those of the stock', () => {
  const LIMITS = `
    cd /sys/fs/cgroup
    if [ -e memory ]; then
      cat memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes pids/pids.max cpu/cpu.cfs_quota_us
    else
      cat memory.max; echo $(($(cat memory.max) + $(cat memory.swap.max))); cat pids.max; cut -d' ' -f1 cpu.max
    fi
    ulimit -u`;

  it.each([
    ['more', { memoryMb: 96, cpus: 2, processes: 100 }],
    ['less', { memoryMb: 64, cpus: 0.25, processes: 5 }],
  ])(
    'has a ready sandbox, and its cgroup and rlimit allow it %s: as much as it asked for',
    async (_, over) => {
      await eventually('stock', () => pool.figures().ready === 1);
      const stock = (await engine.list()).map(({ nonce }) => nonce);
      const limits = { ...spec.limits, ...over };
      const { sandbox, execution } = await run(
        {
          limits,
          steps: [{ name: 'main', argv: ['bash', '-c', LIMITS], stdin: null, timeoutMs: 5000 }],
        },
        { ...shapeOf(spec), ...over },
      );
      expect(stock).toContain(sandbox.nonce);
      const memoryBytes = over.memoryMb * 1024 * 1024;
      const [memory, withSwap, pids, cpuUs, ulimit] = (execution.outputs[0]?.stdout.text ?? '')
        .split('\n')
        .map(Number);
      expect([memory, withSwap]).toEqual([memoryBytes, memoryBytes]);
      expect(pids).toBe(over.processes + 16);
      expect(cpuUs).toBe(over.cpus * 100_000);
      expect(ulimit).toBe(over.processes);
    },
  );
});

describe('jobs of a group', () => {
  const runIn = async (group: string, script: string) => {
    const sandbox = await groups.lease({ shape: shapeOf(spec), group });
    const steps = [{ name: 'main', argv: ['sh', '-c', script], stdin: null, timeoutMs: 5000 }];
    const execution = await execute(
      sandbox,
      { ...spec, steps },
      { deadline: createDeadline(), streamBytes: 1_000_000, blobs: new Map() },
    );
    groups.retire(sandbox, { isReusable: execution.report !== undefined });
    return { sandbox, text: execution.outputs[0]?.stdout.text };
  };

  it('follow one another in one container, which another group never sees', async () => {
    const leave = 'echo left > /work/file; echo left > /tmp/file; sleep 100 & echo done';
    const first = await runIn('a', leave);
    // Clean by now: a job that came at once would have been given a spare one.
    await new Promise((resolve) => setTimeout(resolve, 500));
    const second = await runIn('a', 'ls -A /work /tmp; ls /proc | grep -c "^[0-9]"');
    const other = await runIn('b', 'echo done');
    await new Promise((resolve) => setTimeout(resolve, 500));
    const third = await runIn('a', 'echo done');
    expect([first, second, third].map(({ sandbox }) => sandbox.id)).toEqual(
      Array(3).fill(first.sandbox.id),
    );
    expect(other.sandbox.id).not.toBe(first.sandbox.id);
    expect(second.text?.startsWith('/tmp:\n\n/work:\n')).toBe(true);
    await eventually('their end when idle', () => groups.figures().kept === 0);
  }, 30_000);
});
