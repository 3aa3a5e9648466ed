/** A spec as the guest hears it: one buffer with every frame from LIMITS to RUN. */
import type { JobSpec, SpecFile } from '../../../shared/contract/spec.ts';
import {
  CHUNK_BYTES,
  encodeFrame,
  encodeInts,
  HEADER_BYTES,
  LIMITS_FIELDS,
  TO_GUEST,
  TRUNCATE,
} from './frame.ts';

const MIB = 1024 * 1024;
/** Files that one job can leave. */
export const MAX_ARTIFACTS = 1000;

export interface GuestJobOptions {
  /** Bytes of one stream past which a step ends. */
  readonly streamBytes: number;
  /** The guest's own last deadline, from the moment it hears of the job. */
  readonly lifeMs: number;
  /** The content of every blob that the spec names. */
  readonly blobs: ReadonlyMap<string, Buffer>;
  /** Ask for the reset with the job, ahead of its end: see GuestJob. */
  readonly resetAfter?: boolean;
}

export function encodeJob(spec: JobSpec, options: GuestJobOptions): Buffer {
  const { limits } = spec;
  const values: Record<(typeof LIMITS_FIELDS)[number], number> = {
    wallMs: spec.timeoutMs,
    cpuMs: limits.cpuMs,
    cpuMilli: Math.ceil(limits.cpus * 1000),
    openFiles: limits.openFiles,
    processes: limits.processes,
    fileBytes: limits.workspaceMb * MIB,
    stdoutBytes: limits.stdoutBytes,
    stderrBytes: limits.stderrBytes,
    streamBytes: options.streamBytes,
    truncate: TRUNCATE[spec.truncate],
    artifactBytes: limits.artifactBytes,
    artifactCount: MAX_ARTIFACTS,
    lifeMs: options.lifeMs,
  };
  const frames = [
    encodeFrame(TO_GUEST.LIMITS, encodeInts(...LIMITS_FIELDS.map((name) => values[name]))),
  ];
  for (const file of spec.files) {
    frames.push(
      encodeFrame(TO_GUEST.FILE, encodeInts(file.executable ? 1 : 0), Buffer.from(file.path)),
      ...chunksOf(contentOf(file, options.blobs)),
    );
  }
  if (spec.cwd !== null) frames.push(encodeFrame(TO_GUEST.CWD, Buffer.from(spec.cwd)));
  for (const [name, value] of Object.entries(spec.env)) {
    frames.push(encodeFrame(TO_GUEST.ENV, Buffer.from(`${name}=${value}`)));
  }
  for (const step of spec.steps) {
    const hasStdin = step.stdin === null ? 0 : 1;
    frames.push(encodeFrame(TO_GUEST.STEP, encodeInts(step.timeoutMs, hasStdin)));
    for (const item of step.argv) frames.push(encodeFrame(TO_GUEST.ARG, Buffer.from(item)));
  }
  for (const glob of spec.collect) frames.push(encodeFrame(TO_GUEST.COLLECT, Buffer.from(glob)));
  frames.push(encodeFrame(TO_GUEST.RUN));
  if (options.resetAfter) frames.push(encodeFrame(TO_GUEST.RESET));
  return Buffer.concat(frames);
}

function contentOf(file: SpecFile, blobs: GuestJobOptions['blobs']): Buffer {
  if ('content' in file) return Buffer.from(file.content, file.encoding);
  const content = blobs.get(file.blob);
  if (content === undefined)
    throw new RangeError(`${file.path}: the content of its blob is not here`);
  return content;
}

/** Headers and views of the content in turn: a blob is copied once, into the one buffer of the job. */
function* chunksOf(content: Buffer): Generator<Buffer> {
  for (let at = 0; at < content.length; at += CHUNK_BYTES) {
    const chunk = content.subarray(at, at + CHUNK_BYTES);
    const header = Buffer.allocUnsafe(HEADER_BYTES);
    header.writeUInt8(TO_GUEST.FILE_DATA, 0);
    header.writeUInt32BE(chunk.length, 1);
    yield header;
    yield chunk;
  }
}
