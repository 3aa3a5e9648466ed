/**
 * Every flag of a sandbox's body, what is done to it, and the row of the tests that must turn red. A flag whose value is
 * what the engine would do anyway is not left out but turned round.
 */
import { existsSync } from 'node:fs';
import type { CreateBody } from '../../services/worker/sandbox/create-body.ts';
import type { Breach } from './engine-proxy.ts';

/** A test of test/escape or test/e2e: its file, and the id in its title. */
export interface Row {
  readonly file: string;
  readonly id: string;
}

export interface Wall {
  readonly flag: string;
  readonly breach: Breach;
  readonly row: Row;
}

type Loose = Record<string, unknown>;
const row = (file: string, id: string): Row => ({ file: `test/escape/${file}.test.ts`, id });
export const ordered = (id: string): Row => ({ file: 'test/e2e/as-ordered.test.ts', id });

/** The object that holds a flag, and the flag's own name. */
function placeOf(body: CreateBody, flag: string): [Loose, string] {
  const [first = '', second] = flag.split('.');
  return second === undefined
    ? [body as unknown as Loose, first]
    : [(body as unknown as Record<string, Loose>)[first] ?? {}, second];
}

const without = (flag: string, is: Row): Wall => ({
  flag,
  row: is,
  breach(body) {
    const [holder, name] = placeOf(body, flag);
    delete holder[name];
  },
});

const turned = (flag: string, value: unknown, is: Row): Wall => ({
  flag,
  row: is,
  breach(body) {
    const [holder, name] = placeOf(body, flag);
    holder[name] = value;
  },
});

const CONFIG: readonly Wall[] = [
  without('Image', ordered('B01')),
  without('Entrypoint', ordered('B01')),
  without('Cmd', ordered('B01')),
  without('User', ordered('B09')),
  turned('WorkingDir', '/tmp', ordered('B09')),
  without('Hostname', row('kernel-files', 'I03')),
  turned('Domainname', 'inside.example', row('kernel-files', 'I03')),
  turned('Env', ['SECRET=1'], ordered('B09')),
  turned('Tty', true, ordered('B01')),
  without('OpenStdin', ordered('B01')),
  without('StdinOnce', ordered('B09')),
  without('AttachStdin', ordered('B09')),
  without('AttachStdout', ordered('B09')),
  without('AttachStderr', ordered('B09')),
  without('NetworkDisabled', ordered('B09')),
  turned('Healthcheck', { Test: ['CMD', '/bin/true'], Interval: 1e9 }, ordered('B09')),
  without('StopSignal', ordered('B09')),
  without('StopTimeout', ordered('B09')),
  turned('Volumes', { '/volume': {} }, ordered('B02')),
  ...['worker', 'installation', 'nonce', 'uid', 'deadline'].map(
    (name): Wall => ({
      flag: `Labels.cofferdam.${name}`,
      row: ordered('B10'),
      breach(body) {
        delete (body.Labels as Loose)[`cofferdam.${name}`];
      },
    }),
  ),
];

const bind = '/var/run:/host:ro';
const HOST: readonly Wall[] = [
  turned('HostConfig.Runtime', 'runsc', ordered('B08')),
  turned('HostConfig.Privileged', true, ordered('B08')),
  turned('HostConfig.PublishAllPorts', true, ordered('B08')),
  {
    flag: 'HostConfig.NetworkMode',
    row: row('network', 'I06'),
    breach(body) {
      // Either of the two is enough to keep the network out: both have to go.
      (body as unknown as Loose).NetworkDisabled = false;
      (body.HostConfig as Loose).NetworkMode = 'host';
      delete (body as unknown as Loose).Hostname;
    },
  },
  turned('HostConfig.IpcMode', 'host', ordered('B13')),
  turned('HostConfig.PidMode', 'host', ordered('B01')),
  {
    flag: 'HostConfig.UTSMode',
    row: row('kernel-files', 'I03'),
    breach(body) {
      (body.HostConfig as Loose).UTSMode = 'host';
      delete (body as unknown as Loose).Hostname;
    },
  },
  turned('HostConfig.UsernsMode', 'host', ordered('B08')),
  without('HostConfig.CgroupnsMode', ordered('B07')),
  without('HostConfig.CgroupParent', ordered('B08')),
  without('HostConfig.ReadonlyRootfs', ordered('B02')),
  without('HostConfig.CapDrop', ordered('B03')),
  turned('HostConfig.CapAdd', ['SETUID', 'SETGID', 'KILL', 'NET_RAW'], ordered('B03')),
  turned('HostConfig.Binds', [bind], ordered('B02')),
  turned(
    'HostConfig.Mounts',
    [{ Type: 'bind', Source: '/var/run', Target: '/host', ReadOnly: true }],
    row('filesystem', 'E22'),
  ),
  turned('HostConfig.VolumesFrom', ['nobody'], ordered('B01')),
  turned('HostConfig.Links', ['nobody:nobody'], ordered('B01')),
  turned(
    'HostConfig.Devices',
    [{ PathOnHost: '/dev/kmsg', PathInContainer: '/dev/kmsg', CgroupPermissions: 'rwm' }],
    ordered('B08'),
  ),
  turned(
    'HostConfig.DeviceRequests',
    [{ Driver: 'nobody', Count: -1, Capabilities: [['gpu']] }],
    ordered('B01'),
  ),
  turned('HostConfig.DeviceCgroupRules', ['c 10:* rwm'], ordered('B08')),
  turned('HostConfig.GroupAdd', ['1234'], ordered('B03')),
  turned('HostConfig.ExtraHosts', ['outside:192.0.2.1'], ordered('B08')),
  turned('HostConfig.Dns', ['192.0.2.53'], ordered('B08')),
  turned('HostConfig.DnsOptions', ['ndots:3'], ordered('B08')),
  turned('HostConfig.DnsSearch', ['example.com'], ordered('B08')),
  turned('HostConfig.Sysctls', { 'kernel.shm_rmid_forced': '1' }, ordered('B08')),
  turned('HostConfig.PortBindings', { '80/tcp': [{ HostPort: '0' }] }, ordered('B08')),
  without('HostConfig.Memory', ordered('B05')),
  without('HostConfig.MemorySwap', ordered('B08')),
  without('HostConfig.NanoCpus', ordered('B05')),
  without('HostConfig.PidsLimit', ordered('B05')),
  turned('HostConfig.MemoryReservation', 64 << 20, ordered('B08')),
  turned('HostConfig.OomKillDisable', true, ordered('B08')),
  without('HostConfig.OomScoreAdj', ordered('B05')),
  without('HostConfig.CpuShares', ordered('B05')),
  without('HostConfig.LogConfig', ordered('B08')),
  turned('HostConfig.AutoRemove', true, ordered('B08')),
  turned('HostConfig.RestartPolicy', { Name: 'always', MaximumRetryCount: 0 }, ordered('B08')),
  turned('HostConfig.Init', true, ordered('B01')),
];

/** Above what the wall has: without an entry a sandbox would have the engine's own, which may be the same. */
const ulimit = (name: string): Wall => ({
  flag: `HostConfig.Ulimits.${name}`,
  row: ordered('B04'),
  breach(body) {
    for (const limit of body.HostConfig.Ulimits) {
      if (limit.Name === name) Object.assign(limit, { Soft: limit.Soft + 7, Hard: limit.Hard + 7 });
    }
  },
});

const mountOption = (place: '/work' | '/tmp' | '/dev/shm', option: RegExp, is: Row): Wall => ({
  flag: `HostConfig.Tmpfs.${place}.${option.source.replace(/\^|\$|=.*$/g, '')}`,
  row: is,
  breach(body) {
    // The engine itself adds noexec, nosuid and nodev: left out, they have to be taken back.
    const options = body.HostConfig.Tmpfs[place].split(',').flatMap((one) => {
      if (!option.test(one)) return [one];
      const opposite = { noexec: 'exec', nosuid: 'suid', nodev: 'dev', exec: 'noexec', rw: 'ro' };
      const turn = opposite[one as keyof typeof opposite];
      return turn === undefined ? [] : [turn];
    });
    body.HostConfig.Tmpfs[place] = options.join(',');
  },
});

const TMPFS: readonly Wall[] = (['/work', '/tmp', '/dev/shm'] as const).flatMap((place) => [
  mountOption(place, /^rw$/, place === '/work' ? ordered('B01') : ordered('B02')),
  mountOption(place, place === '/work' ? /^exec$/ : /^noexec$/, ordered('B02')),
  mountOption(place, /^nosuid$/, ordered('B02')),
  mountOption(place, /^nodev$/, ordered('B02')),
  mountOption(place, /^size=/, ordered('B02')),
  mountOption(place, /^nr_inodes=/, ordered('B02')),
  ...(place === '/work'
    ? [
        mountOption(place, /^mode=/, ordered('B02')),
        mountOption(place, /^uid=/, ordered('B01')),
        mountOption(place, /^gid=/, ordered('B02')),
      ]
    : [mountOption(place, /^mode=/, ordered('B12'))]),
]);

const path = (list: 'MaskedPaths' | 'ReadonlyPaths', one: string, is: Row): Wall => ({
  flag: `HostConfig.${list}.${one}`,
  row: is,
  breach(body) {
    body.HostConfig[list] = body.HostConfig[list].filter((other) => other !== one);
  },
});

/** Where this kernel has no such file, nobody can read it: then the list itself is what is looked at. */
export const pathWalls = (body: CreateBody): readonly Wall[] => [
  ...body.HostConfig.MaskedPaths.map((one) =>
    path('MaskedPaths', one, ordered(existsSync(one) ? 'B06' : 'B08')),
  ),
  ...body.HostConfig.ReadonlyPaths.map((one) =>
    path('ReadonlyPaths', one, ordered(existsSync(one) ? 'B02' : 'B08')),
  ),
];

const ULIMITS = 'core nofile fsize nproc memlock stack msgqueue sigpending rtprio nice';

export const BODY_WALLS: readonly Wall[] = [
  ...CONFIG,
  ...HOST,
  ...TMPFS,
  ...ULIMITS.split(' ').map(ulimit),
];
