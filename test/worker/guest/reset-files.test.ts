import { describe, expect, it } from 'vitest';
import { BINARIES, type Job, python, runIn, sh, startGuest } from './harness.ts';

const PLACES = ['/work', '/tmp', '/dev/shm'];

/** How full each place is: what has a name, and the inodes in use. */
const census = python(`
import os
for place in ${JSON.stringify(PLACES)}:
  use = os.statvfs(place)
  print(place, os.listdir(place), use.f_files - use.f_ffree)`);
const EMPTY = PLACES.map((place) => `${place} [] 1\n`).join('');

/** All that the owner of a folder can say with it. */
const attributes = python(`
import os, fcntl, struct, time
for place in ${JSON.stringify(PLACES)}:
  fd = os.open(place, os.O_RDONLY)
  stat, flags = os.fstat(fd), struct.unpack('i', fcntl.ioctl(fd, 0x80086601, bytes(4)))[0]
  print(place, oct(stat.st_mode), stat.st_uid == os.getuid(), stat.st_gid == os.getgid(), os.listxattr(fd), flags)
  age = max(abs(time.time() - at) for at in (stat.st_atime, stat.st_mtime))
  if age > 60: print('a time that was set')`);

/** An access list: the owner rwx, a user of our choice rwx, group nothing, mask rwx, others nothing. */
const LIST = `import struct
acl = struct.pack('<I', 2) + b''.join(struct.pack('<HHI', *e) for e in
  [(1, 7, 2**32-1), (2, 7, 4242), (4, 0, 2**32-1), (16, 7, 2**32-1), (32, 0, 2**32-1)])`;

const ROOM = ',nr_inodes=30000';

describe.each(BINARIES)('%s', (binary) => {
  /** What a second job prints that runs where the first one did; the first must have done what it says. */
  async function afterwards(first: Job, second: Job, workOptions = ''): Promise<string> {
    const guest = await startGuest({ binary, workOptions });
    const { steps, stderr } = await runIn(guest, first);
    expect(
      steps.map(({ code }) => code),
      stderr.toString(),
    ).toEqual([0]);
    await guest.reset();
    const { stdout } = await runIn(guest, second);
    await guest.stop();
    return stdout.toString();
  }

  it('the first job and the next find /work closed to all others, however it was mounted', async () => {
    const mode = { steps: [sh('stat -c %a /work')] };
    const guest = await startGuest({ binary, workOptions: ',mode=0755' });
    expect((await runIn(guest, mode)).stdout.toString()).toBe('700\n');
    await guest.reset();
    expect((await runIn(guest, mode)).stdout.toString()).toBe('700\n');
  });

  it('an empty sandbox has one inode in use in each place', async () => {
    expect(await afterwards({}, { steps: [census] })).toBe(EMPTY);
  });

  it.each(
    PLACES.flatMap((place) =>
      [
        [
          'files, folders, links, FIFOs and sockets',
          sh(
            'echo x >a; mkdir -p b/c; echo y >b/c/d; ln a e; ln -s /usr f; ln -s b g; mkfifo h; python3 -c "import socket; socket.socket(1).bind(\\"i\\")"',
          ),
        ],
        ['hidden files', sh('echo x >.a; mkdir ..b; echo y >..b/...')],
        [
          'folders that are closed',
          sh('mkdir -p a/b/c a/d; touch a/b/c/f; chmod 0 a/b/c a/b a/d a'),
        ],
        ['folders that only let in', sh('mkdir -p a/b; touch a/b/c; chmod 111 a/b a')],
        [
          'sticky and setgid folders',
          sh('mkdir -p a/b; chmod 7755 a; touch a/b/c; chmod 7000 a/b'),
        ],
        [
          'the names that we would choose',
          sh(
            'for i in 0 1 2 3 4; do mkdir -p $i/$i/$i/x; touch $i/f; done; touch 5 6 7; mkdir 8 9',
          ),
        ],
        [
          'extended attributes',
          python(
            'import os; open("a", "w"); os.setxattr("a", "user.a", bytes(100)); os.mkdir("b"); os.setxattr("b", "user.b", bytes(900))',
          ),
        ],
      ].map(([what, step]) => [what, place, step] as const),
    ),
  )('%s in %s do not reach the next job', async (_, place, step) => {
    const plant = { argv: ['env', '-C', place, ...(step as { argv: string[] }).argv] };
    expect(await afterwards({ steps: [plant] }, { steps: [census] })).toBe(EMPTY);
  });

  it('names of any bytes do not reach the next job', async () => {
    const plant = python(`
import os
for byte in set(range(1, 256)) - {46, 47}:
  name = bytes([byte])
  open(name, 'w')
  os.mkdir(name * 2); os.mkdir(name * 2 + b'/' + name * 255)`);
    expect(await afterwards({ steps: [plant] }, { steps: [census] })).toBe(EMPTY);
  });

  it('thousands of folders in one another, each closed, do not reach the next job', async () => {
    const plant = python(`
import os
for i in range(5000): os.mkdir('d'); open('f', 'w'); os.chdir('d')
for i in range(5000): os.chdir('..'); os.chmod('d', 0)`);
    expect(await afterwards({ steps: [plant] }, { steps: [census] }, ROOM)).toBe(EMPTY);
  });

  it('twenty thousand files do not reach the next job', async () => {
    const plant = python(`
import os
for i in range(100):
  os.mkdir(f'd{i}')
  for j in range(200): open(f'd{i}/{j}', 'w')`);
    expect(await afterwards({ steps: [plant] }, { steps: [census] }, ROOM)).toBe(EMPTY);
  });

  it('a place without a free inode or byte is emptied', async () => {
    const plant = python(`
import os
try:
  for i in range(10**6): os.mkdir(f'd{i}'); os.mkdir(f'd{i}/e')
except OSError: pass
os.rmdir('d0/e')
try:
  with open('d0/x', 'wb', 0) as f:
    while True: f.write(bytes(1 << 20))
except OSError: pass`);
    expect(await afterwards({ steps: [plant] }, { steps: [census] })).toBe(EMPTY);
  });

  it('a file without a name, held by messages that hold each other, does not reach the next job', async () => {
    const plant = python(`
import array, os, socket
a, b = socket.socketpair()
file = open('x', 'wb'); file.write(bytes(1 << 20)); file.flush(); os.unlink('x')
for one, other in (a, b), (b, a):
  fds = array.array('i', [file.fileno(), other.fileno()])
  one.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])`);
    expect(await afterwards({ steps: [plant] }, { steps: [census] })).toBe(EMPTY);
  });

  it.each([
    ['a wider mode', sh('chmod 7777 /work')],
    ['a mode that lets nobody in', sh('chmod 0 /work')],
    ['an attribute', python('import os; os.setxattr("/work", "user.note", b"secret")')],
    [
      'a thousand attributes',
      python('import os\nfor i in range(1000): os.setxattr("/work", f"user.{i}", b"x")'),
    ],
    [
      'an access list',
      python(`${LIST}; import os; os.setxattr('/work', 'system.posix_acl_access', acl)`),
    ],
    [
      'an access list for what is made in it',
      python(`${LIST}; import os; os.setxattr('/work', 'system.posix_acl_default', acl)`),
    ],
    [
      'a flag',
      python(
        'import fcntl, os; fcntl.ioctl(os.open("/work", 0), 0x40086602, (0x40).to_bytes(4, "little"))',
      ),
    ],
    ['a time', python('import os; os.utime("/work", (77, 88))')],
  ])('%s of /work does not reach the next job', async (_, step) => {
    const fresh = await startGuest({ binary });
    const before = (await runIn(fresh, { steps: [attributes] })).stdout.toString();
    expect(before).toContain('/work 0o40700 True True [] 0\n');
    expect(await afterwards({ steps: [step] }, { steps: [attributes, census] })).toBe(
      before + EMPTY,
    );
  });

  it.each([
    ['a place without a count of its inodes', ',nr_inodes=0', sh('true')],
    [
      'more attributes than can be listed',
      ',nr_inodes=30000',
      python('import os\nfor i in range(400): os.setxattr("/work", f"user.{i:0240}", b"x")'),
    ],
  ])('%s ends the guest: nothing is taken on trust', async (_, workOptions, step) => {
    const guest = await startGuest({ binary, workOptions });
    expect((await runIn(guest, { steps: [step] })).steps[0]?.code).toBe(0);
    await expect(guest.reset()).rejects.toThrow();
    expect(await guest.exitCode()).toBe(1);
    expect(guest.stderr).toMatch(/^guest: .+\n$/);
  });
});
