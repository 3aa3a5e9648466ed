import { describe, expect, it } from 'vitest';
import { CAUSE, SKIPPED } from '../../../services/worker/protocol/frame.ts';
import { BINARIES, type Limits, lastStep, python, runJob, sh } from './harness.ts';

describe.concurrent.each(BINARIES)('%s', (binary) => {
  const send = (script: string, collect: string[], limits: Partial<Limits> = {}) =>
    runJob({ binary }, { steps: [sh(script)], collect, limits });

  const TREE =
    'mkdir -p out/deep/er .hidden "odd [x]"; for f in a.txt b.txt c.log ab out/a.txt out/x ' +
    'out/.dot out/deep/y.txt out/deep/er/z.txt .hidden/h.txt .rc "odd [x]/f" ä1 zß; do echo -n "$f" >"$f"; done';

  it.each([
    ['a.txt', ['a.txt']],
    ['*.txt', ['a.txt', 'b.txt']],
    ['?.txt', ['a.txt', 'b.txt']],
    ['[ac].*', ['a.txt', 'c.log']],
    ['[!a].*', ['b.txt', 'c.log']],
    ['[a-b]*', ['a.txt', 'ab', 'b.txt']],
    ['**/*.txt', ['a.txt', 'b.txt', 'out/a.txt', 'out/deep/er/z.txt', 'out/deep/y.txt']],
    ['out/*', ['out/a.txt', 'out/deep/er/z.txt', 'out/deep/y.txt', 'out/x']],
    ['out', ['out/.dot', 'out/a.txt', 'out/deep/er/z.txt', 'out/deep/y.txt', 'out/x']],
    ['out/**/er/*', ['out/deep/er/z.txt']],
    ['**/deep', ['out/deep/er/z.txt', 'out/deep/y.txt']],
    ['.*', ['.hidden/h.txt', '.rc']],
    ['**/.dot', ['out/.dot']],
    ['.hidden/*', ['.hidden/h.txt']],
    ['*/h.txt', []],
    ['odd \\[x\\]/f', []],
    ['odd [[]x]/f', ['odd [x]/f']],
    ['?1', ['ä1']],
    ['z[à-ÿß]', ['zß']],
    ['[', []],
    ['nothing', []],
    ['../*', []],
    ['/work/a.txt', []],
  ])('%s collects what it names, in order', async (glob, paths) => {
    const report = await send(TREE, [glob]);
    expect([...report.artifacts.keys()]).toEqual(paths);
    for (const [path, content] of report.artifacts) expect(content.toString()).toBe(path);
    expect(report.skipped).toEqual([]);
  });

  it('a file that several patterns name is sent once', async () => {
    const report = await send(TREE, ['*.txt', 'a*', 'a.txt']);
    expect([...report.artifacts.keys()]).toEqual(['a.txt', 'ab', 'b.txt']);
  });

  it('a pattern of many stars takes no time', async () => {
    const script = 'mkdir -p a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a; touch $(printf "a%.0s" $(seq 200))';
    const globs = [`${'*a'.repeat(100)}b`, `${'**/a/'.repeat(60)}b`];
    const report = await send(script, globs);
    expect(report.artifacts.size).toBe(0);
    expect(report.done.cpuUs).toBeLessThan(1_000_000);
  });

  it('links, devices, FIFOs, sockets and second names are never followed or opened', async () => {
    const script = `
ln -s /etc/passwd passwd; ln -s /dev/zero zero; mkfifo fifo; echo x >one; ln one two
ln -s . loop; ln -s /usr folder; ln -s good soft; echo fine >good; mkdir empty
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("sock")'`;
    const report = await send(script, ['*', 'folder/bin/*', 'loop/good', 'zero']);
    expect([...report.artifacts]).toEqual([['good', Buffer.from('fine\n')]]);
    expect(report.skipped).toEqual(
      ['fifo', 'folder', 'loop', 'one', 'passwd', 'sock', 'soft', 'two', 'zero'].map((path) => ({
        reason: SKIPPED.NOT_REGULAR,
        path,
      })),
    );
  });

  it('a file larger than what is left is skipped, and the next is tried', async () => {
    const script =
      'head -c 600 /dev/zero >a; head -c 500 /dev/zero >b; head -c 400 /dev/zero >c; touch d';
    const report = await send(script, ['*'], { artifactBytes: 1000 });
    expect([...report.artifacts].map(([path, content]) => [path, content.length])).toEqual([
      ['a', 600],
      ['c', 400],
      ['d', 0],
    ]);
    expect(report.skipped).toEqual([{ reason: SKIPPED.TOO_LARGE, path: 'b' }]);
  });

  it('a sparse file of a terabyte takes no time', async () => {
    const report = await runJob(
      { binary, workOptions: ',size=0' },
      {
        steps: [sh('truncate -s 1T big')],
        collect: ['*'],
        limits: { fileBytes: 2 ** 50 },
      },
    );
    expect(report.skipped).toEqual([{ reason: SKIPPED.TOO_LARGE, path: 'big' }]);
  });

  it('more files than allowed are skipped', async () => {
    const report = await send('touch 1 2 3 4 5', ['*'], { artifactCount: 3 });
    expect([...report.artifacts.keys()]).toEqual(['1', '2', '3']);
    expect(report.skipped).toEqual([
      { reason: SKIPPED.TOO_MANY, path: '4' },
      { reason: SKIPPED.TOO_MANY, path: '5' },
    ]);
  });

  it('hundreds of names cannot flood the worker', async () => {
    const report = await send('for i in $(seq 900); do ln -s x l$i; done; touch z', ['*']);
    expect([...report.artifacts.keys()]).toEqual(['z']);
    expect(report.skipped).toHaveLength(256);
  });

  it('names are sent as they are, unless they are not UTF-8', async () => {
    const script = "open(b'\\xff\\xfe', 'w'); open(b'caf\\xc3', 'w'); open('a\\nb\\x1b[0m', 'w')";
    const report = await runJob({ binary }, { steps: [python(script)], collect: ['*'] });
    expect([...report.artifacts.keys()]).toEqual(['a\nb\x1b[0m']);
    expect(report.skipped).toEqual([
      { reason: SKIPPED.UNREADABLE, path: '' },
      { reason: SKIPPED.UNREADABLE, path: '' },
    ]);
  });

  it('what the job may not read is not read for it', async () => {
    const report = await send('echo x >x; chmod 0 x; mkdir d; echo y >d/y; chmod 0 d', ['*']);
    expect(report.artifacts.size).toBe(0);
    expect(report.skipped).toEqual([{ reason: SKIPPED.UNREADABLE, path: 'x' }]);
  });

  it('a tree too deep to be meant is not walked to its end', async () => {
    const script = `
import os
for _ in range(200): os.mkdir('d'); os.chdir('d')
open('end', 'w')`;
    const report = await runJob({ binary }, { steps: [python(script)], collect: ['**/end'] });
    expect(report.artifacts.size).toBe(0);
    expect(report.skipped).toEqual([
      { reason: SKIPPED.TOO_MANY, path: Array(64).fill('d').join('/') },
    ]);
  });

  it('artifacts are sent after a failed step and after a deadline as well', async () => {
    const failed = await send('echo x >x; exit 3', ['x']);
    expect(failed.artifacts.get('x')?.toString()).toBe('x\n');
    const late = await send('echo x >x; sleep 20', ['x'], { wallMs: 300 });
    expect(lastStep(late).cause).toBe(CAUSE.WALL);
    expect(late.artifacts.get('x')?.toString()).toBe('x\n');
  });

  it('a work folder that the job has locked yields nothing and ends well', async () => {
    const report = await send('touch x; chmod 0 /work', ['*']);
    expect(report.artifacts.size).toBe(0);
  });
});
