/** Outputs that are links, devices or pipes are named as skipped and never read. */
import { describe, expect, test } from 'vitest';
import { attack, expectNothingLeft } from './attack.ts';

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

expectNothingLeft();
