/** What the engine is asked for, and what it made: the runtime, the mounts, and none of its other ways into a sandbox. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { JobResult } from '../../shared/contract/result.ts';
import { docker, sandboxes } from '../helpers/docker.ts';
import { api, expectNothingLeft, RUNTIME } from './attack.ts';

const ofWorker = async (): Promise<string[]> => {
  const { worker } = await api.run({ command: ['true'] });
  return sandboxes(worker ?? undefined);
};

describe('the runtime', () => {
  test('E35 is the one asked for, by the kernel that a job sees and by the engine', async () => {
    const hosts = (await docker('info', '-f', '{{.KernelVersion}}')).trim();
    for (const runtime of ['runc', 'runsc'] as const) {
      const result = await api.run({ command: ['cat', '/proc/version'], runtime });
      expect(result.runtime).toBe(runtime);
      expect(result.stdout.includes(hosts)).toBe(runtime === 'runc');
    }
    const made = await Promise.all(
      (await ofWorker()).map((id) =>
        docker('inspect', '-f', '{{.HostConfig.Runtime}}', id).catch(() => ''),
      ),
    );
    expect(made).toContain(RUNTIME);
    expect(made.filter((one) => !['runc', 'runsc', ''].includes(one))).toEqual([]);
  });

  test('E35 that nobody offers is refused and no other stands in for it', async () => {
    const body = { command: ['true'], runtime: 'kata' };
    const response = await api.send('/v1/jobs', { method: 'POST', body });
    expect(response.status).toBe(400);
    const info = (await (await api.send('/v1/info')).json()) as { runtimes: string[] };
    expect(info.runtimes).toEqual(['runc', 'runsc']);
  });

  test.skipIf(RUNTIME === 'runc')(
    'P01 whose own kernel a job brings down is lost by the fault of the program',
    async () => {
      const script = 'bomb() { bomb | bomb & }; bomb; sleep 20';
      let result: JobResult | undefined;
      for (let tries = 0; tries < 3 && result?.outcome?.kind !== 'lost'; tries++) {
        result = await api.run({
          command: ['bash', '-c', script],
          timeoutMs: 10_000,
          limits: { processes: 8, stderrBytes: 4096 },
        });
        expect(result).toMatchObject({ fault: 'program', retryable: false, attempt: 1 });
      }
    },
  );
});

describe('the engine', () => {
  test('E27 mounts nothing of the host', async () => {
    const { stdout } = await api.run({ command: ['cat', '/proc/self/mountinfo'] });
    const types = stdout
      .trim()
      .split('\n')
      .map((line) => line.split(' - ')[1]?.split(' ')[0] ?? '');
    const known = [
      'overlay',
      'tmpfs',
      'proc',
      'sysfs',
      'devpts',
      'mqueue',
      'cgroup',
      'cgroup2',
      '9p',
    ];
    // The engine's own three files are of the host's disk, read-only.
    const others = stdout
      .trim()
      .split('\n')
      .filter((_, index) => !known.includes(types[index] ?? ''))
      .filter((line) => !/ \/etc\/(hosts|hostname|resolv\.conf) ro,/.test(line));
    expect(others).toEqual([]);
    expect(stdout).not.toMatch(/lxcfs|docker\.sock|containerd\.sock/);
  });

  test('E28 gives a sandbox no volume', async () => {
    for (const id of await ofWorker()) {
      const mounts = await docker('inspect', '-f', '{{json .Mounts}}', id).catch(() => '[]');
      const others = (JSON.parse(mounts) as { Type: string }[]).filter(
        ({ Type }) => Type !== 'tmpfs',
      );
      expect(others).toEqual([]);
    }
  });

  test('E30 is asked for no archive and executes nothing', async () => {
    const { worker } = await api.run({ command: ['true'] });
    const events = spawn('docker', [
      'events',
      '--filter',
      `label=cofferdam.worker=${worker}`,
      '--format',
      '{{.Action}}',
    ]);
    let seen = '';
    events.stdout.on('data', (bytes: Buffer) => {
      seen += bytes.toString();
    });
    await sleep(500);
    const files = [{ path: 'in/put', content: 'x' }];
    for (let run = 0; run < 3; run++) {
      await api.run({ files, collect: ['**'], command: ['cp', 'in/put', 'out'] });
    }
    await sleep(1500);
    events.kill();
    await once(events, 'exit');
    const actions = new Set(
      seen
        .trim()
        .split('\n')
        .map((line) => line.split(':')[0]),
    );
    expect(actions.size).toBeGreaterThan(0);
    const harmless = [
      'create',
      'attach',
      'start',
      'die',
      'destroy',
      'kill',
      'stop',
      'update',
      'oom',
      'resize',
    ];
    expect([...actions].filter((action) => !harmless.includes(action ?? ''))).toEqual([]);
  });

  test.each([
    'HostConfig',
    'Privileged',
    'privileged',
    'Binds',
    'Mounts',
    'CapAdd',
    'Devices',
    'SecurityOpt',
    'NetworkMode',
    'PidMode',
    'User',
    'user',
    'uid',
    'WorkingDir',
    'Entrypoint',
    'Image',
    'volumes',
  ])('E31 is not spoken to by a request: %s', async (field) => {
    const body = { command: ['true'], [field]: 'x' };
    const response = await api.send('/v1/jobs', { method: 'POST', body });
    expect(response.status).toBe(400);
  });
});

describe('languages', () => {
  test('E39 may start processes, which are as confined as they are', async () => {
    const python = `import os, subprocess
print(subprocess.run(["id", "-u"], capture_output=True, text=True).stdout.strip() == str(os.getuid()), flush=True)
child = os.fork()
if child == 0: os.execvp("grep", ["grep", "CapEff", "/proc/self/status"])
os.waitpid(child, 0)`;
    const one = await api.run({ image: 'python', script: python });
    expect(one.stdout).toBe('True\nCapEff:\t0000000000000000\n');
    const node = `const { execFileSync } = process.mainModule.constructor._load('child_process');
console.log(Number(execFileSync('id', ['-u'])) === process.getuid());
console.log(({}).constructor.constructor('return process')().getuid() >= 200000);`;
    const two = await api.run({
      image: 'node',
      files: [{ path: 'a.cjs', content: node }],
      command: ['node', 'a.cjs'],
    });
    expect(two.stdout).toBe('true\ntrue\n');
  });

  test('E40 find no token of a cluster', async () => {
    const places =
      '/var/run/secrets /run/secrets /root/.kube /etc/kubernetes /root/.aws /root/.docker /root/.ssh /var/run/docker.sock /run/containerd /.dockerenv';
    const { stdout } = await api.run({
      command: [
        'sh',
        '-c',
        `for p in ${places}; do [ -r $p ] && [ -s $p ] && echo $p; done; env; true`,
      ],
    });
    expect(stdout).not.toMatch(/^\//m);
    expect(stdout).not.toMatch(/KUBERNETES|AWS_|TOKEN/);
  });
});

expectNothingLeft();
