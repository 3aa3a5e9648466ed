import { describe, expect, it } from 'vitest';
import {
  daemonFindings,
  engineVersionFindings,
  parentFindings,
  socketFinding,
  versionFindings,
} from '../../../services/cli/security/engine-findings.ts';

const INFO = {
  version: '29.9.0',
  cgroupVersion: '2',
  cgroupDriver: 'systemd',
  architecture: 'x86_64',
  kernel: '6.1.0',
  runtimes: ['runc'],
  defaultRuntime: 'runc',
  securityOptions: ['name=seccomp,profile=builtin'],
  cores: 2,
  memoryBytes: 1,
};
const statesOf = (findings: readonly { what: string; state: string }[]) =>
  Object.fromEntries(findings.map(({ what, state }) => [what, state]));

describe('versions', () => {
  it('without a known hole are ok, and one with it names hole, mend and source', () => {
    expect(versionFindings('runc', '1.3.3')).toMatchObject([{ state: 'ok' }]);
    expect(versionFindings('runc', '1.1.13')).toMatchObject([
      {
        state: 'warning',
        found: expect.stringContaining('CVE-2025-31133'),
        mend: expect.stringMatching(/1\.2\.8, 1\.3\.3, 1\.4\.0.*changelog.*https:/),
      },
    ]);
  });

  it('that an engine does not tell are a warning', () => {
    const findings = engineVersionFindings({ engine: '29.9.0', runc: '', kernel: '7.1.0' });
    expect(statesOf(findings)).toEqual({
      'engine version': 'ok',
      'runc version': 'warning',
      'kernel version': 'ok',
    });
  });
});

describe('the daemon', () => {
  it('is looked at for userns-remap, a second wall and gVisor', () => {
    expect(statesOf(daemonFindings(INFO))).toEqual({
      'userns-remap': 'warning',
      'second wall': 'warning',
      gVisor: 'warning',
    });
    const hardened = {
      ...INFO,
      runtimes: ['runc', 'runsc'],
      securityOptions: ['name=userns', 'name=apparmor'],
    };
    expect(Object.values(statesOf(daemonFindings(hardened)))).toEqual(['ok', 'ok', 'ok']);
  });

  it('whose socket everybody may use, or that listens on a port, is a fault', () => {
    expect(socketFinding('unix:///run/docker.sock', 0o140660).state).toBe('ok');
    expect(socketFinding('unix:///run/docker.sock', 0o140666)).toMatchObject({
      state: 'fault',
      mend: 'chmod 660 /run/docker.sock',
    });
    expect(socketFinding('tcp://10.0.0.1:2375', undefined).state).toBe('fault');
  });
});

describe('the parent of all sandboxes', () => {
  const files =
    (all: Readonly<Record<string, string>>) =>
    (file: string): string | undefined =>
      all[file];

  it.each([
    ['version 1', '/sys/fs/cgroup/memory/cofferdam/memory.limit_in_bytes', '9223372036854771712'],
    ['version 2', '/sys/fs/cgroup/cofferdam/memory.max', 'max'],
    ['a slice', '/sys/fs/cgroup/cofferdam.slice/memory.max', 'max'],
  ])('without a limit is told with the file that sets it: %s', (_, file, value) => {
    expect(parentFindings(files({ [file]: `${value}\n` }))[0]).toMatchObject({
      state: 'warning',
      mend: expect.stringContaining(file),
    });
    expect(parentFindings(files({ [file]: '8589934592\n' }))[0]).toMatchObject({
      state: 'ok',
      found: '8589934592',
    });
  });

  it('that is not there yet is told as that', () => {
    const states = parentFindings(() => undefined).map(({ state }) => state);
    expect(states).toEqual(['warning', 'warning']);
  });
});
