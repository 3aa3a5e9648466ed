import { describe, expect, it } from 'vitest';
import { kernelFindings, swapFinding } from '../../../services/cli/security/kernel-settings.ts';

const kernel =
  (settings: Readonly<Record<string, string>>) =>
  (file: string): string | undefined =>
    settings[file.replace('/proc/sys/', '').replaceAll('/', '.')];

describe('the settings of a kernel', () => {
  it('that are as they should be are told so', () => {
    const findings = kernelFindings(
      kernel({ 'kernel.io_uring_disabled': '2\n', 'kernel.core_pattern': 'core\n' }),
    );
    expect(findings.map(({ what, state }) => [what, state])).toEqual([
      ['kernel.io_uring_disabled', 'ok'],
      ['kernel.core_pattern', 'ok'],
    ]);
  });

  it('that leave something open are told with why and with the command that shuts it', () => {
    const [first, second] = kernelFindings(
      kernel({
        'kernel.kptr_restrict': '0\n',
        'kernel.core_pattern': '|/usr/share/apport/apport %p\n',
      }),
    );
    expect(first).toMatchObject({
      what: 'kernel.kptr_restrict',
      state: 'warning',
      mend: expect.stringContaining('sysctl -w kernel.kptr_restrict=2'),
    });
    expect(second).toMatchObject({ what: 'kernel.core_pattern', state: 'warning' });
  });

  it('that this kernel does not have are not told of', () => {
    expect(kernelFindings(() => undefined)).toEqual([]);
  });
});

describe('swap', () => {
  it('is warned of where there is any', () => {
    const head = 'Filename\tType\tSize\tUsed\tPriority\n';
    expect(swapFinding(() => head).state).toBe('ok');
    expect(swapFinding(() => `${head}/swapfile file 1 0 -2\n`).state).toBe('warning');
  });
});
