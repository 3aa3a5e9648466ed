/** The guest beside the job: it cannot be read, signalled, written to or replaced. */
import { describe, expect, test } from 'vitest';
import { api, attack, expectNothingLeft, otherThan, RUNTIME } from './attack.ts';

const SECRETS = [
  'environ maps mem root cwd exe fd fd/0 fd/1 fd/2 fdinfo/0 stack syscall io auxv map_files pagemap ns/net',
  'personality mountstats',
].flatMap((names) => names.split(' ').map((name) => `/proc/1/${name}`));

describe('files of PID 1', () => {
  test('I02 nothing about PID 1 that is private can be read', async () => {
    const script = `for file in ${SECRETS.join(' ')}; do
      if [ -d $file ]; then ls $file/ > /dev/null 2>&1; else head -c 1 $file > /dev/null 2>&1; fi && echo $file
    done; echo end`;
    const { stdout } = await api.run({ command: ['sh', '-c', script] });
    // gVisor shows to the owner of its effective uid what of PID 1 holds no secret: see the next test.
    const shown = RUNTIME === 'runsc' ? /^\/proc\/1\/(environ|maps|auxv|fd|fdinfo\/\d)$/ : /^$/;
    const read = stdout.trim().split('\n');
    expect(read.filter((file) => !shown.test(file))).toEqual(['end']);
  });

  test('I02 the environment of PID 1 holds what every container has and nothing else', async () => {
    const { stdout } = await api.run({ command: ['cat', '/proc/1/environ'] });
    const names = stdout.split('\0').map((variable) => variable.split('=')[0]);
    const known = ['PATH', 'HOSTNAME', 'HOME', 'LANG', 'LC_ALL', ''];
    expect(names.filter((name) => !known.includes(name ?? ''))).toEqual([]);
  });

  test('I02 the command line of PID 1 tells its uid and its patience and nothing else', async () => {
    const { stdout } = await api.run({ command: ['cat', '/proc/1/cmdline'] });
    expect(stdout).toMatch(/^\/\.cofferdam\/guest\0\d+\0\d+\0$/);
  });

  test('O12 no descriptor or terminal but its own opens for a job', async () => {
    const files = '/proc/1/fd/0 /proc/1/fd/1 /proc/1/fd/2 /dev/console /dev/tty /dev/pts/0';
    const { verdicts } = await attack('known-files.sh', { args: files.split(' ') });
    expect(Object.keys(verdicts)).toHaveLength(6);
    expect(Object.values(verdicts).filter((verdict) => verdict === 'WRITTEN')).toEqual([]);
  });

  test('O12 /dev/stdout is the pipe of the job', async () => {
    const command = ['sh', '-c', 'echo one > /dev/stdout; echo two > /dev/stderr'];
    expect(await api.run({ command })).toMatchObject({ stdout: 'one\n', stderr: 'two\n' });
  });

  test('E25 the program of PID 1 is neither opened for writing nor changed', async () => {
    const hash = { command: ['sha256sum', '/.cofferdam/guest'] };
    const before = await api.run(hash);
    const files =
      '/.cofferdam/guest /.cofferdam/new /proc/1/exe /proc/1/mem /proc/1/oom_score_adj /proc/1/comm /proc/1/timerslack_ns /proc/1/attr/current /proc/1/clear_refs /proc/1/uid_map';
    const { verdicts } = await attack('known-files.sh', { args: files.split(' ') });
    expect(Object.keys(verdicts)).toHaveLength(10);
    expect(Object.values(verdicts).filter((verdict) => verdict === 'WRITTEN')).toEqual([]);
    const after = await api.run(hash);
    expect(before.stdout).toMatch(/^[0-9a-f]{64} /);
    expect(after.stdout).toBe(before.stdout);
  });

  test('E25 a job that executes the guest has no power by it', async () => {
    const result = await api.run({ command: ['/.cofferdam/guest', '0', '60'] });
    expect(result.outcome).toEqual({ kind: 'exited', exitCode: 2 });
    expect(result.stdout).toBe('');
  });
});

describe('the process', () => {
  test('P06 P07 no signal reaches PID 1, and it outlives the kill of everything', async () => {
    const { result, verdicts } = await attack('signals-to-pid1.c');
    expect(result).toMatchObject({ outcome: { kind: 'exited', exitCode: 42 }, attempt: 1 });
    const { 'kill-all': all, 'children-ended': children, ...signals } = verdicts;
    expect({ all, children }).toEqual({ all: 'OK', children: '3' });
    expect(Object.keys(signals)).toHaveLength(64);
    expect(otherThan(signals, 'EPERM')).toEqual([]);
  });

  test('P08 no process is attached to, read or written, not even a child', async () => {
    const { verdicts } = await attack('other-processes.c');
    expect(Object.keys(verdicts)).toHaveLength(23);
    expect(otherThan(verdicts, 'EPERM', 'EINVAL', 'ESRCH', 'ENOSYS')).toEqual([]);
    const touched = Object.entries(verdicts).filter(
      ([name]) => !/^(mrelease|setpgid|pidfd-kill)/.test(name),
    );
    expect(otherThan(Object.fromEntries(touched), 'EPERM')).toEqual([]);
  });
});

expectNothingLeft();
