/** The engine as what holds the sandboxes: its versions, its options, who may use it, and what bounds the sum of all jobs. */
import type { EngineInfo, EngineVersions } from '../../worker/sandbox/docker-info.ts';
import { type Finding, fault, ok, warning } from '../finding.ts';
import { type Hole, holesOf } from './known-holes.ts';

const OTHERS = 0o006;
const MODE = 0o777;

/** What a program of this version is known for. */
export function versionFindings(program: Hole['of'], version: string): Finding[] {
  const what = `${program} version`;
  if (version === '') return [warning(what, 'not told', 'look it up on the host')];
  const holes = holesOf(program, version);
  if (holes.length === 0) return [ok(what, `${version}, none of the holes we know of`)];
  return holes.map(({ id, what: hole, mendedIn, cleanFrom, source }) => {
    const versions = [...Object.values(mendedIn), cleanFrom].join(', ');
    return warning(
      what,
      `${version}, by its number ${id}: ${hole}`,
      `${program} ${versions} or later, unless the changelog of your package names ${id}; ${source}`,
    );
  });
}

export const engineVersionFindings = (versions: EngineVersions): Finding[] =>
  (['engine', 'runc', 'kernel'] as const).flatMap((program) =>
    versionFindings(program, versions[program]),
  );

/** Options of the daemon; docs/hardening.md has the file with all of them. */
export function daemonFindings({ securityOptions, runtimes }: EngineInfo): Finding[] {
  const has = (name: string): boolean =>
    securityOptions.some((option) => option.startsWith(`name=${name}`));
  const mend = 'see daemon.json in docs/hardening.md';
  return [
    has('userns') || has('rootless')
      ? ok('userns-remap', has('rootless') ? 'rootless' : 'on')
      : warning('userns-remap', 'off: root in a sandbox is root of the host', mend),
    has('apparmor') || has('selinux')
      ? ok('second wall', has('apparmor') ? 'AppArmor' : 'SELinux')
      : warning('second wall', 'neither AppArmor nor SELinux', 'boot a kernel that has one'),
    runtimes.includes('runsc')
      ? ok('gVisor', 'registered')
      : warning('gVisor', 'runsc is not registered: jobs share this kernel', mend),
  ];
}

/** Whoever may write to it is root on the host. */
export function socketFinding(address: string, mode: number | undefined): Finding {
  const what = 'engine socket';
  if (!address.startsWith('unix://')) {
    return fault(what, `${address}: whoever reaches it is root there`, 'use the local socket');
  }
  if (mode === undefined) return warning(what, 'not seen', 'look it up on the host');
  const text = (mode & MODE).toString(8).padStart(4, '0');
  return (mode & OTHERS) === 0
    ? ok(what, `mode ${text}`)
    : fault(what, `mode ${text}: everybody may use it`, `chmod 660 ${address.slice(7)}`);
}

const NO_LIMIT = 2 ** 60;
const FILES = {
  memory: ['/sys/fs/cgroup/memory/cofferdam/memory.limit_in_bytes', 'memory.max'],
  processes: ['/sys/fs/cgroup/pids/cofferdam/pids.max', 'pids.max'],
} as const;
const V2_FOLDERS = ['/sys/fs/cgroup/cofferdam', '/sys/fs/cgroup/cofferdam.slice'] as const;

/** The parent of all sandboxes: without a limit their sum has none. */
export function parentFindings(read: (file: string) => string | undefined): Finding[] {
  return Object.entries(FILES).map(([name, [v1, v2]]) => {
    const files = [v1, ...V2_FOLDERS.map((folder) => `${folder}/${v2}`)];
    const file = files.find((one) => read(one) !== undefined);
    const what = `all jobs' ${name}`;
    if (file === undefined) return warning(what, 'no sandbox has run yet', 'look again later');
    const value = (read(file) ?? '').trim();
    return value === 'max' || Number(value) > NO_LIMIT
      ? warning(what, 'no limit on their sum', `set ${file}; see docs/hardening.md`)
      : ok(what, value);
  });
}
