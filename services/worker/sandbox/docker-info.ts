/** What an engine says of itself. */
import { CALL_TIMEOUT_MS, type Docker, promised, within } from './docker.ts';

export interface EngineInfo {
  readonly version: string;
  readonly cgroupVersion: string;
  readonly cgroupDriver: string;
  readonly architecture: string;
  /** The release of its machine's kernel. */
  readonly kernel: string;
  readonly runtimes: readonly string[];
  readonly defaultRuntime: string;
  readonly securityOptions: readonly string[];
  readonly cores: number;
  readonly memoryBytes: number;
}

interface InfoReply {
  ServerVersion: string;
  CgroupVersion?: string;
  CgroupDriver: string;
  Architecture: string;
  KernelVersion: string;
  Runtimes?: Record<string, unknown>;
  DefaultRuntime: string;
  SecurityOptions?: string[];
  NCPU: number;
  MemTotal: number;
}

export async function readEngineInfo(docker: Docker): Promise<EngineInfo> {
  const info = await promised<InfoReply>(docker.info(within(CALL_TIMEOUT_MS) as never));
  return {
    version: info.ServerVersion,
    cgroupVersion: info.CgroupVersion ?? '1',
    cgroupDriver: info.CgroupDriver,
    architecture: info.Architecture,
    kernel: info.KernelVersion,
    runtimes: Object.keys(info.Runtimes ?? {}),
    defaultRuntime: info.DefaultRuntime,
    securityOptions: info.SecurityOptions ?? [],
    cores: info.NCPU,
    memoryBytes: info.MemTotal,
  };
}

/** The programs that hold a sandbox, by the versions they say they have; '' where the engine does not tell. */
export interface EngineVersions {
  readonly engine: string;
  readonly runc: string;
  readonly kernel: string;
}

export async function readEngineVersions(docker: Docker): Promise<EngineVersions> {
  const { Version, KernelVersion, Components } = await promised<{
    Version: string;
    KernelVersion?: string;
    Components?: readonly { Name: string; Version: string }[];
  }>(docker.version(within(CALL_TIMEOUT_MS) as never));
  const runc = Components?.find(({ Name }) => Name === 'runc')?.Version ?? '';
  return { engine: Version, runc, kernel: KernelVersion ?? '' };
}
