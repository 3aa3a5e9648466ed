/**
 * Docker Engine as the maker of sandboxes: the one file that knows its client library. Every call has a time limit,
 * because a hung container runtime can block a call for ever.
 */
import Docker from 'dockerode';
import type { Log } from '../../../shared/log.ts';
import { GuestLostError, GuestSession } from '../protocol/session.ts';
import { attach, type EngineAddress } from './attach.ts';
import { createBody, type EngineFacts, LABEL } from './create-body.ts';
import { createDemux } from './demux.ts';
import type { ImageTransport } from './image-store.ts';
import {
  type ListedSandbox,
  type Order,
  type Sandbox,
  type SandboxEngine,
  SandboxUnavailableError,
} from './sandbox.ts';
import { seccompProfile } from './seccomp.ts';

const CALL_TIMEOUT_MS = 15_000;
const HELLO_TIMEOUT_MS = 10_000;
const BUILD_TIMEOUT_MS = 120_000;
/** What a guest says on stderr is for the log; more than this of it is dropped. */
const STDERR_BYTES = 2048;
const GONE_POLL_MS = 50;

export interface DockerEngineOptions {
  readonly address: EngineAddress;
  readonly worker: string;
  readonly idleSeconds: number;
  readonly maxOpenFiles: number;
  readonly imageOf: (name: string) => { tag: string; digest: string };
  readonly log: Log;
}

export interface EngineInfo {
  readonly version: string;
  readonly cgroupVersion: string;
  readonly cgroupDriver: string;
  readonly architecture: string;
  readonly runtimes: readonly string[];
  readonly defaultRuntime: string;
  readonly securityOptions: readonly string[];
  readonly cores: number;
  readonly memoryBytes: number;
}

/** `unix:///path` or `tcp://host:port` → where to connect. */
export function parseEngineAddress(text: string): EngineAddress {
  if (text.startsWith('unix://')) return { socketPath: text.slice('unix://'.length) };
  const url = new URL(text);
  return { host: url.hostname, port: Number(url.port || 2375) };
}

export const openDocker = (address: EngineAddress): Docker =>
  'socketPath' in address
    ? new Docker({ socketPath: address.socketPath })
    : new Docker({ host: address.host, port: address.port, protocol: 'http' });

const within = (ms: number) => ({ abortSignal: AbortSignal.timeout(ms) });

/** The library's types know options only beside a callback; its calls return promises all the same. */
const promised = async <T>(call: unknown): Promise<T> => (await call) as T;

interface InfoReply {
  ServerVersion: string;
  CgroupVersion?: string;
  CgroupDriver: string;
  Architecture: string;
  Runtimes?: Record<string, unknown>;
  DefaultRuntime: string;
  SecurityOptions?: string[];
  NCPU: number;
  MemTotal: number;
}

const statusOf = (error: unknown): number | undefined =>
  error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number'
    ? error.statusCode
    : undefined;

export async function readEngineInfo(docker: Docker): Promise<EngineInfo> {
  const info = await promised<InfoReply>(docker.info(within(CALL_TIMEOUT_MS) as never));
  return {
    version: info.ServerVersion,
    cgroupVersion: info.CgroupVersion ?? '1',
    cgroupDriver: info.CgroupDriver,
    architecture: info.Architecture,
    runtimes: Object.keys(info.Runtimes ?? {}),
    defaultRuntime: info.DefaultRuntime,
    securityOptions: info.SecurityOptions ?? [],
    cores: info.NCPU,
    memoryBytes: info.MemTotal,
  };
}

const ARCHITECTURES: Readonly<Record<string, string>> = { x86_64: 'x64', aarch64: 'arm64' };

const factsOf = (info: EngineInfo, maxOpenFiles: number): EngineFacts => ({
  cgroupParent: info.cgroupDriver === 'systemd' ? 'cofferdam.slice' : '/cofferdam',
  seccomp: seccompProfile(ARCHITECTURES[info.architecture] ?? info.architecture),
  hasAppArmor: info.securityOptions.some((option) => option.startsWith('name=apparmor')),
  maxOpenFiles,
});

export async function createDockerEngine(options: DockerEngineOptions): Promise<SandboxEngine> {
  const docker = openDocker(options.address);
  const facts = factsOf(await readEngineInfo(docker), options.maxOpenFiles);

  return {
    async create(order) {
      let socket: Awaited<ReturnType<typeof attach>> | undefined;
      try {
        const image = options.imageOf(order.shape.image);
        const body = createBody(order, { ...options, image: image.tag, facts });
        const container = await docker.createContainer({
          ...body,
          name: nameOf(order.nonce),
          ...within(CALL_TIMEOUT_MS),
        } as Docker.ContainerCreateOptions);
        // Attached before the start: nothing that the guest says can be missed.
        socket = await attach(options.address, container.id, CALL_TIMEOUT_MS);
        const known = { ...order, id: container.id, imageDigest: image.digest };
        const sandbox = converse(socket, known, options.log);
        await container.start(within(CALL_TIMEOUT_MS));
        await limited(sandbox.session.ready, HELLO_TIMEOUT_MS);
        return sandbox;
      } catch (cause) {
        socket?.destroy();
        // Even where the create call failed the container may exist: it is known by its name.
        await removeContainer(docker, nameOf(order.nonce)).catch((error: unknown) =>
          options.log.warn({ err: error, nonce: order.nonce }, 'left to the sweep'),
        );
        throw new SandboxUnavailableError(
          `no sandbox of ${order.shape.image}: ${reasonOf(cause)}`,
          {
            cause,
          },
        );
      }
    },
    remove: (nonce) => removeContainer(docker, nameOf(nonce)),
    list: () => listContainers(docker),
  };
}

const nameOf = (nonce: string): string => `cofferdam-${nonce}`;

const reasonOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);

/** A sandbox over its stream: what the guest says goes to the session, its end ends the session. */
function converse(
  socket: Awaited<ReturnType<typeof attach>>,
  known: Order & { id: string; imageDigest: string },
  log: Log,
): Sandbox {
  const session = new GuestSession(socket);
  let stderr = '';
  const demux = createDemux({
    onStdout: (bytes) => session.receive(bytes),
    onStderr: (bytes) => {
      if (stderr.length < STDERR_BYTES) stderr += bytes.toString('latin1').slice(0, STDERR_BYTES);
    },
  });
  socket.on('data', (chunk: Buffer) => {
    try {
      demux(chunk);
    } catch (error) {
      session.fail(error instanceof Error ? error : new Error(String(error)));
      socket.destroy();
    }
  });
  const closed = new Promise<void>((resolve) => {
    socket.once('close', () => {
      if (stderr !== '')
        log.warn({ sandbox: known.id.slice(0, 12), stderr }, 'the guest complained');
      session.fail(new GuestLostError('the stream to the guest closed'));
      resolve();
    });
  });
  // Without a listener an error of the socket would end the process; `close` follows it.
  socket.on('error', (error) =>
    session.fail(new GuestLostError('the stream broke', { cause: error })),
  );
  socket.once('end', () => socket.destroy());

  return {
    id: known.id,
    nonce: known.nonce,
    uid: known.uid,
    shape: known.shape,
    imageDigest: known.imageDigest,
    createdAtMs: Date.now(),
    session,
    closed,
    disconnect: () => socket.destroy(),
  };
}

/** For what takes no signal: the call is left alone, its caller goes on. */
async function limited<T>(call: Promise<T>, withinMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${withinMs} ms`)), withinMs);
  });
  try {
    return await Promise.race([call, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Removes by force and returns once the engine knows nothing of it any more. */
async function removeContainer(docker: Docker, id: string): Promise<void> {
  const container = docker.getContainer(id);
  try {
    await container.remove({ force: true, v: true, ...within(CALL_TIMEOUT_MS) });
    return;
  } catch (error) {
    if (statusOf(error) === 404) return;
    // 409: another removal is under way; wait for its end below.
    if (statusOf(error) !== 409) throw error;
  }
  const deadline = Date.now() + CALL_TIMEOUT_MS;
  while (Date.now() < deadline) {
    try {
      await container.inspect(within(CALL_TIMEOUT_MS));
    } catch (error) {
      if (statusOf(error) === 404) return;
      throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, GONE_POLL_MS));
  }
  throw new Error(`The engine has been removing ${id} for ${CALL_TIMEOUT_MS} ms.`);
}

async function listContainers(docker: Docker): Promise<ListedSandbox[]> {
  const containers = await docker.listContainers({
    all: true,
    filters: { label: [LABEL.nonce] },
    ...within(CALL_TIMEOUT_MS),
  });
  return containers.map(({ Labels }) => ({
    nonce: Labels[LABEL.nonce] ?? '',
    worker: Labels[LABEL.worker] ?? '',
    uid: Number(Labels[LABEL.uid] ?? 0),
    deadlineMs: Number(Labels[LABEL.deadline] ?? 0),
  }));
}

/** What the image store needs of Docker. */
export function dockerImages(address: EngineAddress): ImageTransport {
  const docker = openDocker(address);
  return {
    async inspect(reference) {
      try {
        const image = await limited(docker.getImage(reference).inspect(), CALL_TIMEOUT_MS);
        return {
          digest: image.Id,
          volumes: Object.keys(image.Config.Volumes ?? {}),
          onBuild: (image.Config.OnBuild as string[] | null) ?? [],
        };
      } catch (error) {
        if (statusOf(error) === 404) return undefined;
        throw error;
      }
    },
    async build(context, labels) {
      const stream = await docker.buildImage(
        context as unknown as NodeJS.ReadableStream,
        {
          labels,
          forcerm: true,
          networkmode: 'none',
          ...within(BUILD_TIMEOUT_MS),
        } as Docker.ImageBuildOptions,
      );
      const events = await new Promise<{ aux?: { ID?: string }; error?: string }[]>(
        (resolve, reject) =>
          docker.modem.followProgress(stream, (error, output) =>
            error ? reject(error) : resolve(output),
          ),
      );
      const id = events.findLast((event) => event.aux?.ID !== undefined)?.aux?.ID;
      if (id === undefined) throw new Error(events.at(-1)?.error ?? 'the build made no image');
      return id;
    },
    async tag(id, repository, tag) {
      await docker.getImage(id).tag({ repo: repository, tag, ...within(CALL_TIMEOUT_MS) });
    },
    async removeImage(id) {
      await docker.getImage(id).remove({ force: true, ...within(CALL_TIMEOUT_MS) });
    },
    async withFiles(id, read) {
      const container = await docker.createContainer({
        Image: id,
        Entrypoint: ['/never-started'],
        NetworkDisabled: true,
        HostConfig: { NetworkMode: 'none', LogConfig: { Type: 'none', Config: {} } },
        ...within(CALL_TIMEOUT_MS),
      } as Docker.ContainerCreateOptions);
      try {
        const files = promised<NodeJS.ReadableStream>(
          container.export(within(BUILD_TIMEOUT_MS) as never),
        );
        return await read(await files);
      } finally {
        await removeContainer(docker, container.id);
      }
    },
  };
}
