/** What a job leaves behind in the sandbox of its group does not reach the next: both see what the first of all saw. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JobRequestInput } from '../../shared/contract/request.ts';
import { callerOf, type ServerProcess, startServer } from '../helpers/server.ts';
import { GROUPED, sh } from './batch-api.ts';
import { NO_SPARES, sandboxOf } from './sandbox-log.ts';

const FIXTURES = path.resolve(import.meta.dirname, '../fixtures/escape');
const fixture = (name: string) => ({
  path: name,
  content: readFileSync(path.join(FIXTURES, name), 'utf8'),
});

let server: ServerProcess;
let api: ReturnType<typeof callerOf>;
beforeAll(async () => {
  server = await startServer({ COFFERDAM_SLOTS: '1', ...NO_SPARES });
  api = callerOf(server);
});
afterAll(async () => expect(await server.stop()).toBe(0));

/** All that a job can see of its sandbox and that another could have changed, without times and numbers of processes. */
const LOOK = {
  image: 'python',
  script: `
import os, resource, socket
print(os.getcwd(), oct(os.umask(0)), sorted(os.environ.items()), os.getgroups(), os.nice(0))
status = dict(line.rstrip().split(':', 1) for line in open('/proc/self/status'))
print({name: status[name] for name in status if name[:3] in ('Sig', 'Shd', 'Cap', 'NoN', 'Sec', 'Uid', 'Gid')})
print([(kind, resource.getrlimit(kind)) for kind in range(16)])
print(open('/proc/self/oom_score_adj').read(), os.sched_getaffinity(0), os.sched_getscheduler(0))
print(sorted(os.listdir('/proc/self/fd'), key=int)[:-1])
print('processes', sum(name.isdigit() for name in os.listdir('/proc')))
for kind in ('shm', 'msg', 'sem'): print(kind, open('/proc/sysvipc/' + kind).read().splitlines()[1:])
for kind in ('unix', 'tcp', 'tcp6', 'udp'):
  try: print(kind, len(open('/proc/net/' + kind).read().splitlines()))
  except OSError as error: print(kind, error)
for place in ('/work', '/tmp', '/dev/shm', '/dev/mqueue', '/var/tmp', '/run', '/home'):
  about, room = os.stat(place), os.statvfs(place)
  print(place, oct(about.st_mode), about.st_uid, sorted(os.listdir(place)))
  if place in ('/work', '/tmp', '/dev/shm'): print(room.f_bfree, room.f_ffree)
`,
} satisfies JobRequestInput;

const python = (script: string): JobRequestInput => ({ image: 'python', script });
const sharedMemory = `
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
`;

let groups = 0;

/** Looks around in a new sandbox, runs the job there, and looks again; whether both looks were in one sandbox. */
async function looksAround(job: JobRequestInput) {
  const group = { ...GROUPED, group: `remains-${groups++}` };
  const before = await api.run({ ...LOOK, ...group });
  expect(before).toMatchObject({ outcome: { kind: 'exited', exitCode: 0 }, stderr: '' });
  const between = await api.run({ image: 'python', ...job, ...group });
  const after = await api.run({ ...LOOK, ...group });
  const [first, second, third] = [
    await sandboxOf(server, before.id),
    await sandboxOf(server, between.id),
    await sandboxOf(server, after.id),
  ];
  expect(second).toBe(first);
  return {
    before: withoutUid(before.stdout),
    after: withoutUid(after.stdout),
    isShared: third === first,
  };
}

/** Another sandbox has another one, and that is all. */
const withoutUid = (seen: string): string =>
  seen.replaceAll(seen.match(/'Uid': '\\t(\d+)/)?.[1] ?? 'none', 'UID');

describe('nothing is left of', () => {
  test.each<[string, JobRequestInput]>([
    [
      'files of every kind in every place that takes them',
      sh(`for place in /work /tmp /dev/shm /dev/mqueue /var/tmp /run /home; do
        cd "$place" 2> /dev/null && touch .marked && mkdir -p deep/er/.still && touch deep/er/.still/x &&
          chmod 0 deep/er && ln -s / link && ln .marked hard && mkfifo fifo
        done; true`),
    ],
    [
      'a full disk',
      sh('dd if=/dev/zero of=/work/full bs=1M; dd if=/dev/zero of=/tmp/f bs=1M; true'),
    ],
    ['a folder closed to its owner', sh('mkdir -p a/b && touch a/b/c && chmod 0 a/b a . /tmp')],
    [
      'a changed folder, umask, priority and limits',
      sh('cd /tmp; umask 0; export A=b; ulimit -n 10; ulimit -t 3; true'),
    ],
    [
      'processes in the background',
      sh('(setsid sleep 300 &) ; (trap "" TERM HUP INT; setsid sleep 300 &); sleep 300 & true'),
    ],
    [
      'processes that double themselves',
      python(`
import os, time
for at in range(20):
  if os.fork() == 0:
    os.setsid()
    end = time.time() + 300
    while time.time() < end:
      try:
        if os.fork() == 0: os.setsid(); continue
      except OSError: pass
      os._exit(0)
`),
    ],
    ['stopped processes', sh('sleep 300 & kill -STOP $!; true')],
    [
      'shared memory, queues and semaphores of System V',
      python(`${sharedMemory}
made = [libc.shmget(key, 1 << 20, 0o1666) for key in (0, 7, 8)]
made += [libc.msgget(key, 0o1666) for key in (0, 7)] + [libc.semget(key, 3, 0o1666) for key in (0, 7)]
print(made)`),
    ],
    [
      'POSIX shared memory and semaphores',
      python("open('/dev/shm/sem.a', 'w').write('x' * 100_000)"),
    ],
    [
      'sockets with names in no folder, left to a background process',
      python(`
import os, socket, time
held = [socket.socket(socket.AF_UNIX) for _ in range(5)]
for at, one in enumerate(held): one.bind('\\0left-' + str(at)); one.listen()
if os.fork() == 0: os.setsid(); time.sleep(300)`),
    ],
    ['a program that fails', sh('touch /tmp/x; kill -SEGV $$')],
    [
      'files that were sent and collected',
      { ...sh('cp given made'), files: [{ path: 'given', content: 'x' }], collect: ['made'] },
    ],
  ])('%s', async (_name, job) => {
    const { before, after, isShared } = await looksAround(job);
    expect(after).toBe(before);
    expect(isShared).toBe(true);
  });

  test.each<[string, JobRequestInput]>([
    [
      'all inodes',
      sh('i=0; while mkdir "/work/$i" 2> /dev/null && [ $i -lt 3000 ]; do i=$((i + 1)); done'),
    ],
    [
      'a folder a thousand deep',
      sh('i=0; while [ $i -lt 1000 ]; do mkdir d && cd d; i=$((i+1)); done'),
    ],
  ])('%s, which may be more than is worth clearing away', async (_name, job) => {
    const { before, after } = await looksAround(job);
    expect(after).toBe(before);
  });

  test('what listens on the loopback', async () => {
    const listener = python(`
import os, socket, time
one = socket.socket(); one.bind(('127.0.0.1', 8080)); one.listen()
if os.fork() == 0: os.setsid(); time.sleep(300)`);
    const { before, after } = await looksAround(listener);
    expect(after).toBe(before);
  });

  test('a connection over the loopback: its sandbox goes, or the next job sees none of it', async () => {
    const connected = python(`
import socket
one = socket.socket(); one.bind(('127.0.0.1', 8081)); one.listen()
two = socket.create_connection(('127.0.0.1', 8081)); three, _ = one.accept(); two.send(b'secret')`);
    const { before, after } = await looksAround(connected);
    expect(after).toBe(before);
  });
});

describe('the places', () => {
  test('that a job can write to are those that are looked at', async () => {
    const { steps, outcome } = await api.run({
      files: [fixture('writable-places.c'), fixture('attempt.h')],
      steps: [
        { name: 'compile', command: ['gcc', '-O1', '-pthread', '-o', 'walk', 'writable-places.c'] },
        { name: 'walk', command: ['./walk'] },
      ],
      ...GROUPED,
      group: 'places',
      timeoutMs: 30_000,
    });
    expect(outcome).toEqual({ kind: 'exited', exitCode: 0 });
    const lines = steps?.[1]?.stdout.split('\n') ?? [];
    const folders = lines
      .filter((line) => line.startsWith('file-in '))
      .map((line) => line.slice(8));
    const top = new Set(folders.map((folder) => (folder.startsWith('/work') ? '/work' : folder)));
    expect([...top].toSorted()).toEqual(['/dev/shm', '/tmp', '/work']);
  });
});

describe('memory', () => {
  test('that a job used and filled with files is there again for each of twenty', async () => {
    const group = { ...GROUPED, group: 'memory', limits: { memoryMb: 128, workspaceMb: 90 } };
    const seen = new Set<string>();
    for (let at = 0; at < 20; at++) {
      const { id, outcome } = await api.run({
        ...sh('dd if=/dev/zero of=full bs=1M count=80 2> /dev/null && wc -c < full'),
        ...group,
      });
      expect(outcome).toEqual({ kind: 'exited', exitCode: 0 });
      seen.add(await sandboxOf(server, id));
    }
    expect(seen.size).toBe(1);
  });
});
