/** Docker Engine as the maker of sandboxes. */

import type { Socket } from 'node:net';
import { limited } from '../../../shared/limited.ts';
import type { Log } from '../../../shared/log.ts';
import { milestone } from '../../../shared/milestones.ts';
import type { Runtime } from '../../../shared/runtimes.ts';
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
  within,
} from './docker.ts';
import { type EngineInfo, readEngineInfo } from './docker-info.ts';
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
  readonly imageOf: (name: string) => { tag: string; digest: string };
  readonly log: Log;
}

export async function createDockerEngine(options: DockerEngineOptions): Promise<SandboxEngine> {
  const docker = openDocker(options.address);
  const info = await readEngineInfo(docker);
  const facts = factsOf(info, options);

  return {
    runtimes: info.runtimes.filter(isRuntime),
    kernel: info.kernel,
    async create(order) {
      let socket: Socket | undefined;
      try {
        const image = options.imageOf(order.shape.image);
        const seccomp = seccompProfile(architectureOf(info), order.shape.runtime);
        const from = { ...options, image: image.tag, facts: { ...facts, seccomp } };
        const body = createBody(order, from);
        // In two parts, or the client would put all of the body into the address as well.
        const creating = docker.createContainer({
          _query: { name: nameOf(order.nonce) },
          _body: body,
          ...within(CALL_TIMEOUT_MS),
        } as Docker.ContainerCreateOptions);
        milestone('create_sent');
        const container = await creating;
        milestone('created');
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
    createdAtMs: Date.now(),
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
