/** Outputs that are links, devices or pipes are named as skipped and never read. */
import { describe, expect, test } from 'vitest';
import { api, attack, expectNothingLeft } from './attack.ts';

const WITHIN_MS = 5000;

describe('artifacts', () => {
  test('F14 F15 F16 only a plain file of one name is kept', async () => {
    const { result } = await attack('links-as-artifacts.sh', { collect: ['out/**'] });
    expect(result.outcome).toEqual({ kind: 'exited', exitCode: 0 });
    expect(result.artifacts.map(({ path, bytes }) => [path, bytes])).toEqual([['out/fine', 5]]);
    const skipped = result.artifactsSkipped.map(({ path, reason }) => `${path} ${reason}`);
    const names =
      'etc fifo guest-environ hard hard-too link-to-fine loop passwd status urandom zero';
    expect(skipped.sort()).toEqual(names.split(' ').map((name) => `out/${name} not_regular`));
    expect(result.timing.runMs).toBeLessThan(WITHIN_MS);
  });

  test('F14 no folder is reached through a link', async () => {
    const { result } = await attack('links-as-artifacts.sh', {
      collect: [
        'instead-of-a-folder/passwd',
        'instead-of-a-folder/**',
        'root/etc/passwd',
        'root/**/hostname',
        'out/etc/passwd',
        'out/loop/fine',
      ],
    });
    expect(result.outcome).toEqual({ kind: 'exited', exitCode: 0 });
    expect(result.artifacts).toEqual([]);
    expect(result.timing.runMs).toBeLessThan(WITHIN_MS);
  });
});

describe('names', () => {
  test('F19 of thousands of outputs are capped, and those that are no names are named as skipped', async () => {
    const { result } = await attack('odd-outputs.py', { collect: ['out/**'] });
    expect(result.outcome).toEqual({ kind: 'exited', exitCode: 0 });
    expect(result.artifacts.length).toBeGreaterThan(0);
    expect(result.artifacts.length).toBeLessThanOrEqual(1000);
    const odd = result.artifacts.filter(
      ({ path }) => [...path].some((c) => c < ' ') || path.split('/').includes('..'),
    );
    expect(odd).toEqual([]);
    expect(result.artifactsSkipped.length).toBeLessThanOrEqual(100);
  });
});

describe('the next step', () => {
  test('F22 has a link in the place of its script, and reads it as the job', async () => {
    const result = await api.run({
      steps: [
        {
          name: 'plant',
          command: ['sh', '-c', 'rm .script-1.sh; ln -s /etc/shadow .script-1.sh; ls -A'],
        },
        { name: 'read', script: 'echo mine' },
      ],
    });
    expect(result.steps?.[0]?.stdout).toContain('.script-1.sh');
    expect(result.steps?.[1]?.outcome).not.toEqual({ kind: 'exited', exitCode: 0 });
    expect(result.stdout).not.toContain('mine');
    expect(JSON.stringify(result)).not.toMatch(/root:[*!]/);
  });
});

expectNothingLeft();
