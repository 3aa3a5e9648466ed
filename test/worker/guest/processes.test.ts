import { describe, expect, it } from 'vitest';
import {
  CAUSE,
  encodeFrame,
  encodeInts,
  FROM_GUEST,
  KIND,
  TO_GUEST,
} from '../../../services/worker/protocol/frame.ts';
import {
  BINARIES,
  collect,
  jobFrames,
  lastStep,
  python,
  runJob,
  sh,
  startGuest,
  text,
} from './harness.ts';

const kill = (cause: number) => encodeFrame(TO_GUEST.KILL, encodeInts(cause));

describe.each(BINARIES)('%s', (binary) => {
  it('an orphan that holds stdout does not hold up the end', async () => {
    const report = await runJob(
      { binary },
      { steps: [sh('echo before; (sleep 20; echo after) &')] },
    );
    expect(report.stdout.toString()).toBe('before\n');
    expect(lastStep(report)).toMatchObject({ cause: CAUSE.NONE, kind: KIND.EXITED, code: 0 });
    expect(lastStep(report).wallUs).toBeLessThan(1_000_000);
  });

  it('a daemon in a session of its own does not outlive its step', async () => {
    const steps = [
      sh(
        'setsid -f sh -c "trap \\"\\" TERM HUP; while :; do date >>alive; sleep 0.05; done"; sleep 0.2',
      ),
      sh(
        'a=$(wc -l <alive); sleep 0.3; b=$(wc -l <alive); echo $((b - a)); ls /proc | grep -c "^[0-9]"',
      ),
    ];
    const report = await runJob({ binary }, { steps });
    expect(report.stdout.toString().split('\n')[0]).toBe('0');
  });

  it('a thousand orphans are reaped while the program runs', async () => {
    const script = `
import os, time, glob
for i in range(1000):
  if os.fork() == 0:
    if os.fork() == 0: os._exit(0)
    os._exit(0)
  os.wait()
time.sleep(0.2)
print(sum(' Z ' in open(f).read() for f in glob.glob('/proc/[0-9]*/stat')))`;
    const report = await runJob({ binary }, { steps: [python(script)] });
    expect(report.stdout.toString()).toBe('0\n');
  });

  it('a job that kills everyone it can leaves the guest alive', async () => {
    const report = await runJob({ binary }, { steps: [sh('kill -9 -1; kill -9 1; echo unseen')] });
    expect(lastStep(report).kind).toBe(KIND.EXITED);
    const alone = await runJob({ binary }, { steps: [python('import os; os.kill(-1, 9)')] });
    expect(lastStep(alone).cause).toBe(CAUSE.NONE);
  });

  it('no signal of the job reaches the guest', async () => {
    const steps = [
      sh('for s in $(seq 1 64); do kill -$s 1 2>/dev/null && echo sent $s; done; echo end'),
    ];
    expect((await runJob({ binary }, { steps })).stdout.toString()).toBe('end\n');
  });

  it('the job sees three descriptors, and nothing of the guest’s', async () => {
    const script = `
import os
print(sorted(int(f) for f in os.listdir('/proc/self/fd'))[:-1])
for path in '/proc/1/fd', '/proc/1/mem', '/proc/1/environ', '/proc/1/cwd/.':
  try: open(path) if path.endswith(('mem', 'environ')) else os.listdir(path); print('open', path)
  except PermissionError: pass
for fd in range(3, 64):
  try: os.write(fd, b'x'); print('wrote', fd)
  except OSError: pass`;
    const report = await runJob({ binary }, { steps: [python(script)] });
    expect(report.stdout.toString()).toBe('[0, 1, 2]\n');
    expect(report.stderr.toString()).toBe('');
  });

  it('the job has its own ids, no groups, no capability and no way back', async () => {
    const guest = await startGuest({ binary });
    const job = {
      steps: [
        sh('grep -E "^(Uid|Gid|Groups|Cap(Inh|Prm|Eff|Amb)|NoNewPrivs)" /proc/self/status; umask'),
        sh('ps -o sid= -p $$ | grep -qx " *$$" && echo own session; cat /proc/self/oom_score_adj'),
        python('import os\ntry: os.setresuid(0, 0, 0)\nexcept PermissionError: print("no way")'),
      ],
    };
    guest.send(...jobFrames(job));
    const report = await collect(guest, job);
    const ids = Array(4).fill(guest.uid).join('\t');
    const none = '0'.repeat(16);
    expect(report.stdout.toString().replaceAll(/[ \t]+\n/g, '\n')).toBe(
      `Uid:\t${ids}\nGid:\t${ids}\nGroups:\nCapInh:\t${none}\nCapPrm:\t${none}\nCapEff:\t${none}\n` +
        `CapAmb:\t${none}\nNoNewPrivs:\t1\n0022\nown session\n1000\nno way\n`,
    );
  });

  it('the job starts with every signal at its default and none blocked', async () => {
    const steps = [{ argv: ['cat', '/proc/self/status'] }];
    const status = (await runJob({ binary }, { steps })).stdout.toString();
    expect(status.match(/^Sig(Blk|Ign|Cgt):\t0{16}$/gm)).toHaveLength(3);
  });

  it('a kill ends the job for its cause, and what was printed is kept', async () => {
    const guest = await startGuest({ binary });
    const job = { steps: [sh('echo partial; touch left; sleep 20'), sh('true')], collect: ['*'] };
    guest.send(...jobFrames(job));
    await guest.expect(FROM_GUEST.STARTED);
    expect((await guest.expect(FROM_GUEST.STDOUT)).payload.toString()).toBe('partial\n');
    guest.send(kill(CAUSE.CANCELLED));
    const report = await collect(guest, job);
    expect(report.steps).toHaveLength(1);
    expect(lastStep(report)).toMatchObject({
      cause: CAUSE.CANCELLED,
      kind: KIND.SIGNALED,
      code: 9,
      stdoutTotal: 8,
    });
    expect(report.artifacts.size).toBe(0);
    guest.send(kill(CAUSE.ABORTED), encodeFrame(TO_GUEST.EXIT));
    expect(await guest.exitCode()).toBe(0);
  });

  it('a kill in the same write as the job ends its first step', async () => {
    const guest = await startGuest({ binary });
    const job = { steps: [sh('sleep 20'), sh('true')] };
    guest.send(...jobFrames(job), kill(CAUSE.CANCELLED));
    const report = await collect(guest, job);
    expect(report.steps.map(({ cause }) => cause)).toEqual([CAUSE.CANCELLED]);
  });

  it('the first of two kills gives the cause', async () => {
    const guest = await startGuest({ binary });
    const job = { steps: [sh('sleep 20')] };
    guest.send(...jobFrames(job));
    await guest.expect(FROM_GUEST.STARTED);
    guest.send(kill(CAUSE.ABORTED), kill(CAUSE.CANCELLED));
    expect(lastStep(await collect(guest, job)).cause).toBe(CAUSE.ABORTED);
  });

  it('a kill is heard by a guest whose frames nobody reads', async () => {
    const guest = await startGuest({ binary });
    const job = {
      limits: { stdoutBytes: 64 << 20 },
      steps: [{ ...sh('cat /dev/zero'), stdin: text('') }],
    };
    guest.pauseStdout();
    guest.send(...jobFrames(job));
    await new Promise((done) => setTimeout(done, 300));
    guest.send(kill(CAUSE.CANCELLED));
    await new Promise((done) => setTimeout(done, 300));
    guest.resumeStdout();
    const end = lastStep(await collect(guest, job));
    expect(end.cause).toBe(CAUSE.CANCELLED);
    expect(end.wallUs).toBeLessThan(550_000);
  });

  it('the end of stdin ends everything', async () => {
    const guest = await startGuest({ binary });
    guest.send(...jobFrames({ steps: [sh('trap "" HUP TERM; sleep 20 & sleep 20')] }));
    await guest.expect(FROM_GUEST.STARTED);
    guest.closeStdin();
    expect(await guest.exitCode()).toBe(0);
  });

  it('the end of stdin ends a guest without a job', async () => {
    const guest = await startGuest({ binary });
    guest.closeStdin();
    expect(await guest.exitCode()).toBe(0);
  });
});
