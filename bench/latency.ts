/**
 * How long one small job takes from its HTTP request to its result, one at a time, each with a ready sandbox of its
 * own. Beside it, in turn with it: `docker run` of the same command from the same image, as a process, which is what it
 * replaces; and the same command as a plain child process of Node, which is the floor.
 */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type Caller, callerOf, startServer } from '../test/helpers/server.ts';
import { percentile, type Report, type Row } from './report.ts';

const ROUNDS = 30;
const WARM_UP = 3;
const REFILL_WITHIN_MS = 20_000;
const RUN_WITHIN_MS = 60_000;

const execute = promisify(execFile);

interface Command {
  readonly title: string;
  readonly image: string;
  readonly argv: readonly [string, ...string[]];
}

const COMMANDS: readonly Command[] = [
  { title: 'true', image: 'base', argv: ['true'] },
  { title: "python3 -c 'print(6*7)'", image: 'python', argv: ['python3', '-c', 'print(6*7)'] },
];

export async function latency(): Promise<Report> {
  const server = await startServer({ COFFERDAM_LOG_LEVEL: 'info' });
  try {
    const api = callerOf(server);
    const rows: Row[] = [];
    for (const command of COMMANDS) rows.push(...(await measure(api, command)));
    await sleep(1_000);
    const residentMb = residentBytes(server.pid) / 1024 / 1024;
    return {
      name: 'latency',
      unit: 'ms',
      rows,
      notes: [
        `Resident memory of the server (API and worker in one process), idle: ${residentMb.toFixed(0)} MB.`,
        `${ROUNDS} rounds; in each: docker run, one job, one plain process. Every job had a ready sandbox, used once.`,
      ],
    };
  } finally {
    await server.stop();
  }
}

async function measure(api: Caller, { title, image, argv }: Command): Promise<Row[]> {
  const request = { image, command: [...argv] };
  const times: Record<'job' | 'dockerRun' | 'plain', number[]> = {
    job: [],
    dockerRun: [],
    plain: [],
  };
  const reference = `cofferdam-image/${image}:latest`;
  const dockerArgs = ['run', '--rm', '--network', 'none', reference, ...argv];
  const [name, ...args] = argv;
  const program = `/usr/bin/${name}`; // the system's own, as in the image; not a version manager's

  for (let round = -WARM_UP; round < ROUNDS; round++) {
    const dockerRun = await timeOf(() => execute('docker', dockerArgs, { timeout: RUN_WITHIN_MS }));
    await untilRefilled(api);
    const job = await timeOf(() => api.run(request));
    const plain = await timeOf(() => execute(program, args, { timeout: RUN_WITHIN_MS }));
    if (round < 0) continue;
    times.job.push(job);
    times.dockerRun.push(dockerRun);
    times.plain.push(plain);
  }
  const p50 = (values: readonly number[]): number => percentile(values, 50);
  const faster = p50(times.dockerRun) / p50(times.job);
  const row = (what: string, values: readonly number[], note = ''): Row => ({
    what: `${title}: ${what}`,
    p50: p50(values),
    p95: percentile(values, 95),
    max: Math.max(...values),
    note,
  });
  return [
    row('job over HTTP', times.job, `${faster.toFixed(1)} × faster than docker run`),
    row('docker run --rm --network none', times.dockerRun),
    row('plain child process', times.plain, 'floor: no sandbox'),
  ];
}

async function timeOf(act: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await act();
  return performance.now() - startedAt;
}

/** Nothing is being made or removed: the job measures its own way and not its predecessor's. */
async function untilRefilled(api: Caller): Promise<void> {
  const deadline = Date.now() + REFILL_WITHIN_MS;
  while (Date.now() < deadline) {
    const metrics = await (await api.send('/metrics')).text();
    const figure = (state: string): number =>
      Number(metrics.match(new RegExp(`cofferdam_pool_sandboxes{state="${state}"} (\\d+)`))?.[1]);
    if (figure('creating') === 0 && figure('removing') === 0 && figure('ready') > 0) return;
    await sleep(20);
  }
  throw new Error(`The pool was not full again within ${REFILL_WITHIN_MS} ms.`);
}

const residentBytes = (pid: number): number =>
  Number(readFileSync(`/proc/${pid}/status`, 'utf8').match(/VmRSS:\s+(\d+) kB/)?.[1]) * 1024;
