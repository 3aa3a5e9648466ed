import { constants } from 'node:os';
import { describe, expect, it } from 'vitest';
import { STAGE } from '../../../services/worker/protocol/frame.ts';
import { BINARIES, Guest, type Job, runJob, sh } from './harness.ts';

const { errno } = constants;

describe.concurrent.each(BINARIES)('%s', (binary) => {
  it('files are laid out with their folders, modes and owner, byte for byte', async () => {
    const content = Buffer.from(Array.from({ length: 200_000 }, (_, i) => (i * 7) & 0xff));
    const files = [
      { path: 'plain', content: 'a' },
      { path: 'a/b/c/deep.bin', content },
      { path: 'a/run', content: '#!/bin/sh\n', executable: true },
      { path: 'empty' },
      { path: 'ä ö"$x', content: 'odd' },
      { path: '...', content: 'dots' },
    ];
    const steps = [
      sh('find . -type f -printf "%p %m %s %U\\n" | LC_ALL=C sort; stat -c "%a %n" a a/b; id -u'),
    ];
    const job: Job = { files, steps, collect: ['a/b'] };
    const report = await runJob({ binary }, job);
    const lines = report.stdout.toString().trimEnd();
    const uid = lines.split('\n').at(-1);
    expect(lines.replaceAll(` ${uid}\n`, '\n')).toBe(
      [
        './... 644 4',
        './a/b/c/deep.bin 644 200000',
        './a/run 755 10',
        './empty 644 0',
        './plain 644 1',
        './ä ö"$x 644 3',
        '755 a',
        '755 a/b',
        uid,
      ].join('\n'),
    );
    expect(report.artifacts.get('a/b/c/deep.bin')?.equals(content)).toBe(true);
  });

  it('a program can be executed the moment it was written', async () => {
    const files = [{ path: 'x', content: '#!/bin/sh\necho ran\n', executable: true }];
    const report = await runJob({ binary }, { files, steps: [{ argv: ['./x'] }] });
    expect(report.stdout.toString()).toBe('ran\n');
  });

  it.each([
    ['..', '../x', 'EINVAL'],
    ['.. inside', 'a/../../x', 'EINVAL'],
    ['.', './x', 'EINVAL'],
    ['the folder itself', '.', 'EINVAL'],
    ['nothing', '', 'EINVAL'],
    ['an absolute path', '/tmp/x', 'EINVAL'],
    ['an empty component', 'a//x', 'EINVAL'],
    ['a slash at the end', 'a/', 'EINVAL'],
    ['a name that is too long', `a/${'n'.repeat(256)}`, 'ENAMETOOLONG'],
    ['a file in the way of a folder', 'plain/x', 'ENOTDIR'],
    ['a file that exists', 'plain', 'EEXIST'],
    ['a folder that exists', 'folder', 'EEXIST'],
  ] as const)('%s is refused as a path of a file', async (_, path, code) => {
    const files = [
      { path: 'plain', content: 'x' },
      { path: 'folder/x', content: 'x' },
      { path, content: 'y' },
      { path: 'never', content: 'z' },
    ];
    const report = await runJob({ binary }, { files, collect: ['*'] });
    expect(report.refused).toEqual({ stage: STAGE.FILES, errno: errno[code] });
    expect(report.started).toEqual([]);
    expect(report.artifacts.size).toBe(0);
  });

  it.each(['..', '/usr', 'a/..', '', 'plain', 'plain/x'])(
    '"%s" is refused as a working folder',
    async (cwd) => {
      const report = await runJob({ binary }, { files: [{ path: 'plain' }], cwd });
      const code = cwd.startsWith('plain') ? errno.ENOTDIR : errno.EINVAL;
      expect(report.refused).toEqual({ stage: STAGE.CWD, errno: code });
    },
  );

  it('files that do not fit are refused', async () => {
    const files = [{ path: 'big', content: Buffer.alloc(300_000) }];
    const report = await runJob({ binary, workOptions: ',size=200k' }, { files });
    expect(report.refused).toEqual({ stage: STAGE.FILES, errno: errno.ENOSPC });
  });

  it('more files than there are inodes are refused', async () => {
    const files = Array.from({ length: 30 }, (_, i) => ({ path: `f${i}` }));
    const report = await runJob({ binary, workOptions: ',nr_inodes=20' }, { files });
    expect(report.refused).toEqual({ stage: STAGE.FILES, errno: errno.ENOSPC });
  });

  it('a folder that is not the job’s own is not for the guest to change: it does not start', async () => {
    const guest = new Guest({ binary, workOptions: ',uid=0,gid=0' });
    expect(await guest.exitCode()).toBe(1);
    expect(guest.stderr).toContain('/work must be a folder of the job');
  });
});
