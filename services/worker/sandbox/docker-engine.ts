/** Docker Engine as the maker of sandboxes. */
import type { Socket } from 'node:net';
import { limited } from '../../../shared/limited.ts';
import type { Log } from '../../../shared/log.ts';
import { milestone } from '../../../shared/milestones.ts';
import type { Runtime } from '../../../shared/runtimes.ts';
import { steadyNowMs } from '../../../shared/steady-clock.ts';
import { GuestLostError, GuestSession } from '../protocol/session.ts';
import { attach, type EngineAddress } from './attach.ts';
import { canBecome, changeableLimits, createBody, type EngineFacts, LABEL } from './create-body.ts';
import { createDemux } from './demux.ts';
import {
  CALL_TIMEOUT_MS,
  causeOfDeath,
  type Docker,
  openDocker,
  removeContainer,
  statusOf,
  within,
} from './docker.ts';
import { type EngineInfo, readEngineInfo } from './docker-info.ts';
import type { ImageStore, PreparedImage } from './image-store.ts';
import { isRuntime } from './runtimes.ts';
import {
  type ListedSandbox,
  type Order,
  type Sandbox,
  type SandboxEngine,
  SandboxUnavailableError,
} from './sandbox.ts';
import { seccompProfile } from './seccomp.ts';

const HELLO_TIMEOUT_MS = 10_000;
/** It asks nothing of the engine but to be there. */
const PING_TIMEOUT_MS = 3_000;
/** A guest ends within a few milliseconds; the engine says so some tens later. */
const END_WITHIN_MS = 1_000;
/** Not `removing`: this engine may list a container so for ever that is gone. */
const STATES = ['created', 'running', 'paused', 'exited', 'dead'] as const;
/** What a guest says on stderr is for the log; more than this of it is dropped. */
const STDERR_BYTES = 2048;

export interface DockerEngineOptions {
  readonly address: EngineAddress;
  readonly worker: string;
  /** The queue that the worker belongs to: others on this engine are none of its business. */
  readonly installation: string;
  readonly idleSeconds: number;
  readonly maxOpenFiles: number;
  readonly maxProcesses: number;
  readonly images: Pick<ImageStore, 'imageOf' | 'onGone'>;
  readonly log: Log;
}

export async function createDockerEngine(options: DockerEngineOptions): Promise<SandboxEngine> {
  const docker = openDocker(options.address);
  const info = await readEngineInfo(docker);
  const facts = factsOf(info, options);
  const runtimes = info.runtimes.filter(isRuntime);
  const profiles = new Map(
    runtimes.map((runtime) => [runtime, seccompProfile(architectureOf(info), runtime)]),
  );

  return {
    runtimes,
    kernel: info.kernel,
    async ping() {
      await docker.ping(within(PING_TIMEOUT_MS) as never);
    },
    async create(order) {
      let socket: Socket | undefined;
      try {
        const seccomp = profiles.get(order.shape.runtime) ?? facts.seccomp;
        const from = { ...options, facts: { ...facts, seccomp } };
        const { container, image } = await containerOf(docker, order, from);
        // Attached before the start: nothing that the guest says can be missed.
        socket = await attach(options.address, container.id, CALL_TIMEOUT_MS);
        milestone('attached');
        const known = { ...order, id: container.id, imageDigest: image.digest };
        const sandbox = converse(socket, known, options.log, () =>
          causeOfDeath(docker, container.id),
        );
        await requireRuntime(container, order.shape.runtime);
        await container.start(within(CALL_TIMEOUT_MS));
        milestone('started');
        await limited(sandbox.session.ready, HELLO_TIMEOUT_MS);
        return sandbox;
      } catch (cause) {
        socket?.destroy();
        const reason = `no sandbox of ${order.shape.image}: ${reasonOf(cause)}`;
        throw new SandboxUnavailableError(reason, { cause });
      }
    },
    canBecome: (from, to) => canBecome(from, to, facts),
    async update(sandbox, shape) {
      const limits = { ...changeableLimits(shape, facts), ...within(CALL_TIMEOUT_MS) };
      await docker.getContainer(sandbox.id).update(limits);
      return { ...sandbox, shape };
    },
    remove: (nonce) => removeContainer(docker, nameOf(nonce)),
    list: () => listContainers(docker),
  };
}

type Surroundings = DockerEngineOptions & { readonly facts: EngineFacts };

/** Somebody may have removed the image since it was prepared: then it is prepared again, once. */
async function containerOf(docker: Docker, order: Order, from: Surroundings) {
  const { imageOf, onGone } = from.images;
  const name = order.shape.image;
  const image = await imageOf(name);
  try {
    return { container: await createFrom(docker, image, order, from), image };
  } catch (error) {
    if (statusOf(error) !== 404) throw error;
    onGone(name);
    const again = await imageOf(name);
    return { container: await createFrom(docker, again, order, from), image: again };
  }
}

async function createFrom(
  docker: Docker,
  image: PreparedImage,
  order: Order,
  from: Surroundings,
): Promise<Docker.Container> {
  // In two parts, or the client would put all of the body into the address as well.
  const creating = docker.createContainer({
    _query: { name: nameOf(order.nonce) },
    _body: createBody(order, { ...from, image: image.tag }),
    ...within(CALL_TIMEOUT_MS),
  } as Docker.ContainerCreateOptions);
  milestone('create_sent');
  const container = await creating;
  milestone('created');
  return container;
}

/** An engine that put another runtime in the place of the one asked for would take a wall away unseen. */
async function requireRuntime(container: Docker.Container, wanted: Runtime): Promise<void> {
  const { HostConfig } = await container.inspect(within(CALL_TIMEOUT_MS));
  if (HostConfig.Runtime === wanted) return;
  throw new Error(`expected the runtime ${wanted}; the engine took ${HostConfig.Runtime}`);
}

const nameOf = (nonce: string): string => `cofferdam-${nonce}`;

const reasonOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);

/** A sandbox over its stream: what the guest says goes to the session, its end ends the session. */
function converse(
  socket: Socket,
  known: Order & { id: string; imageDigest: string },
  log: Log,
  causeOfDeath: Sandbox['causeOfDeath'],
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
    createdAtMs: steadyNowMs(),
    session,
    closed,
    causeOfDeath,
    async end() {
      socket.end(); // end of file, on which a guest ends in whatever state it is
      await limited(closed, END_WITHIN_MS).catch(() => socket.destroy());
    },
    disconnect: () => socket.destroy(),
  };
}

async function listContainers(docker: Docker): Promise<ListedSandbox[]> {
  const containers = await docker.listContainers({
    all: true,
    filters: { label: [LABEL.nonce], status: [...STATES] },
    ...within(CALL_TIMEOUT_MS),
  });
  return containers.map(({ Labels }) => ({
    nonce: Labels[LABEL.nonce] ?? '',
    worker: Labels[LABEL.worker] ?? '',
    installation: Labels[LABEL.installation] ?? '',
    uid: Number(Labels[LABEL.uid] ?? 0),
    deadlineMs: Number(Labels[LABEL.deadline] ?? 0),
  }));
}

const ARCHITECTURES: Readonly<Record<string, string>> = { x86_64: 'x64', aarch64: 'arm64' };

const architectureOf = ({ architecture }: EngineInfo): string =>
  ARCHITECTURES[architecture] ?? architecture;

const factsOf = (
  info: EngineInfo,
  { maxOpenFiles, maxProcesses }: Pick<EngineFacts, 'maxOpenFiles' | 'maxProcesses'>,
): EngineFacts => ({
  cgroupParent: info.cgroupDriver === 'systemd' ? 'cofferdam.slice' : '/cofferdam',
  seccomp: seccompProfile(architectureOf(info)),
  hasAppArmor: info.securityOptions.some((option) => option.startsWith('name=apparmor')),
  cores: info.cores,
  maxOpenFiles,
  maxProcesses,
});
