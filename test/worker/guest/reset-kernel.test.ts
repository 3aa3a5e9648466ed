import { describe, expect, it } from 'vitest';
import { KIND } from '../../../services/worker/protocol/frame.ts';
import {
  BINARIES,
  inOneSandbox,
  type Job,
  lastStep,
  python,
  runIn,
  sh,
  startGuest,
} from './harness.ts';

/** What a process of a job is given, and what it can see of the sandbox. */
const view = python(`
import os, resource
mask = os.umask(0)
status = dict(line.rstrip().split(':', 1) for line in open('/proc/self/status'))
print(os.getcwd(), oct(mask), os.getgroups(), os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0))
print({name: status[name] for name in ('Uid', 'Gid', 'SigBlk', 'SigIgn', 'SigCgt', 'CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs')})
print([(kind, resource.getrlimit(kind)) for kind in range(16)])
print(dict(os.environ), sorted(os.listdir('/proc/self/fd'), key=int)[:-1], open('/proc/self/oom_score_adj').read())
print(sorted(int(pid) for pid in os.listdir('/proc') if pid.isdigit() and int(pid) != os.getpid()), open('/proc/1/comm').read())
for kind in 'shm', 'msg', 'sem': print(open(f'/proc/sysvipc/{kind}').read().splitlines()[1:])
for path in '/proc/1/fd', '/proc/1/mem', '/proc/1/environ':
  try: os.listdir(path) if path.endswith('fd') else open(path)
  except PermissionError: print('closed', path)`);

const libc = `import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)`;
const shm = `${libc}\nid = libc.shmget(0, 5 << 20, 0o1000)\nassert id >= 0`;

describe.each(BINARIES)('%s', (binary) => {
  /** What a job sees where the first one ran, and what it sees in a new sandbox of the same uid. */
  async function views(first: Job) {
    const fresh = await inOneSandbox({ binary }, async (guest) =>
      (await runIn(guest, { steps: [view] })).stdout.toString().replaceAll(`${guest.uid}`, 'UID'),
    );
    const { before, reused } = await inOneSandbox({ binary }, async (guest) => {
      const before = await runIn(guest, first);
      await guest.reset();
      return {
        before,
        reused: (await runIn(guest, { steps: [view] })).stdout
          .toString()
          .replaceAll(`${guest.uid}`, 'UID'),
      };
    });
    return { before, fresh, reused };
  }

  it.each<[string, Job]>([
    ['nothing', {}],
    [
      'its own folder, variables and limits',
      {
        cwd: 'deep/er',
        env: { SECRET: 's3cret', PATH: '/bin' },
        limits: { openFiles: 20, processes: 33, fileBytes: 1000 },
      },
    ],
    [
      'a umask, limits and a priority of its own',
      {
        steps: [
          sh('umask 777; ulimit -n 10; ulimit -s 100; renice 19 $$; taskset -p 1 $$; cd /tmp'),
        ],
      },
    ],
    ['a background process', { steps: [sh('sleep 60 & sleep 60 & exit 0')] }],
    [
      'a daemon in a session of its own',
      {
        steps: [
          sh('setsid -f sh -c "trap \\"\\" TERM HUP; while :; do sleep 0.1; done"; sleep 0.1'),
        ],
      },
    ],
    [
      'shared memory that nobody may read',
      { steps: [python(`${shm}\nlibc.shmat.restype = ctypes.c_void_p`)] },
    ],
    [
      'shared memory given to another',
      {
        steps: [
          python(`${shm}
ds = ctypes.create_string_buffer(256)
import struct
struct.pack_into('iIIIII', ds, 0, 0, 12345, 12345, os.getuid(), os.getuid(), 0)
assert libc.shmctl(id, 1, ds) == 0`),
        ],
      },
    ],
    [
      'many segments, queues and semaphores',
      {
        steps: [
          python(`${libc}
for key in range(1, 200):
  assert libc.shmget(key, 4096, 0o1600) >= 0 and libc.msgget(key, 0o1600) >= 0 and libc.semget(key, 3, 0o1000) >= 0`),
        ],
      },
    ],
    [
      'a message in a queue',
      {
        steps: [
          python(`${libc}
id = libc.msgget(7, 0o1600)
assert libc.msgsnd(id, (1).to_bytes(8, 'little') + b'secret', 6, 0) == 0`),
        ],
      },
    ],
  ])(
    'after a job with %s the next one sees what it would see in a new sandbox',
    async (_, first) => {
      const { before, fresh, reused } = await views(first);
      expect(lastStep(before).code, before.stderr.toString()).toBe(0);
      expect(reused).toBe(fresh);
      expect(fresh.match(/closed/g)).toHaveLength(3);
    },
  );

  it('a message queue with a name cannot be made', async () => {
    const make = python(
      `${libc}\nassert libc.syscall(240, b'name', os.O_CREAT | os.O_RDWR, 0o600, None) == -1\nprint(ctypes.get_errno())`,
    );
    const report = await inOneSandbox({ binary }, (guest) => runIn(guest, { steps: [make] }));
    expect(report.stdout.toString()).toBe('24\n');
  });

  it('a connection that outlived its job ends the guest', async () => {
    const talk = python(`
import socket
server = socket.create_server(('127.0.0.1', 8000))
client = socket.create_connection(('127.0.0.1', 8000))
one, _ = server.accept()
one.close(); client.recv(1); client.close()`);
    const guest = await startGuest({ binary });
    expect(lastStep(await runIn(guest, { steps: [talk] })).code).toBe(0);
    await expect(guest.reset()).rejects.toThrow();
    expect(await guest.exitCode()).toBe(1);
    expect(guest.stderr).toMatch(/^guest: .*connection\n$/);
  });

  it('sockets that ended with their job are no reason to end', async () => {
    const open = python(`
import socket
server = socket.create_server(('127.0.0.1', 8000))
held = [socket.socketpair(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET6)]`);
    const after = await inOneSandbox({ binary }, async (guest) => {
      await runIn(guest, { steps: [open] });
      await guest.reset();
      return runIn(guest, { steps: [open] });
    });
    expect(lastStep(after)).toMatchObject({ kind: KIND.EXITED, code: 0 });
  });
});
