/**
 * The images that sandboxes are made of. Each image of the catalogue is judged once and gets the guest as one more
 * layer, under a tag that is the digest of both: where that tag exists, the image behind it was judged and found good.
 *
 * Judged, because a sandbox inherits what its image brings: a volume is a writable folder on the host's disk; a setuid
 * file or a file capability is a way up; a link in place of a mount point leads mounts elsewhere.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import tar from 'tar-stream';
import type { Catalogue, Image } from '../../../shared/images.ts';
import type { Log } from '../../../shared/log.ts';
import { GUEST_PATH } from './create-body.ts';

/** What the store needs of an engine. */
export interface ImageTransport {
  inspect(
    reference: string,
  ): Promise<
    { digest: string; volumes: readonly string[]; onBuild: readonly string[] } | undefined
  >;
  build(context: tar.Pack, labels: Record<string, string>): Promise<string>;
  tag(id: string, repository: string, tag: string): Promise<void>;
  removeImage(id: string): Promise<void>;
  /** The whole file system of an image as a tar stream. */
  withFiles<T>(id: string, read: (files: NodeJS.ReadableStream) => Promise<T>): Promise<T>;
}

export interface PreparedImage {
  readonly tag: string;
  /** The operator's image, by digest. */
  readonly digest: string;
}

/** An image of the catalogue that cannot be used, and why. */
export class ImageUnusableError extends Error {
  override readonly name = 'ImageUnusableError';
  /** What was judged; undefined where there was nothing to judge. */
  readonly digest: string | undefined;

  constructor(message: string, { digest, cause }: { digest?: string; cause?: unknown } = {}) {
    super(message, { cause });
    this.digest = digest;
  }
}

/** The engine could not make the derived image out of this one; any other failure is the engine's own. */
export class ImageBuildError extends Error {
  override readonly name = 'ImageBuildError';
}

/** Part of the tag: raise it when the rules below change, so that every image is judged again. */
const RULES_VERSION = '1';
const SETUID_OR_SETGID = 0o6000;
const CAPABILITY_ATTRIBUTE = 'SCHILY.xattr.security.capability';
const WORLD_WRITABLE = 0o002;
/** What the sandbox mounts a tmpfs over: writable for all is what they are for. */
const MOUNT_POINTS = new Set(['work', 'tmp', 'dev/shm']);
const MUST_BE_FOLDERS = new Set(['dev', 'proc', 'sys', 'work', 'tmp', '.cofferdam']);
const FAULTS_SHOWN = 5;

export interface ImageStore {
  /** Judges and derives every image of the catalogue; those that fail are unusable, with a reason. */
  prepare(): Promise<void>;
  readonly prepared: ReadonlyMap<string, PreparedImage | ImageUnusableError>;
  /**
   * The image by its name; throws an ImageUnusableError. One that could not be used is looked at again: it may have
   * come, or been mended, since.
   */
  imageOf(name: string): Promise<PreparedImage>;
  /** This one, else any other that can be used. */
  anyUsable(name: string): string;
  /** The engine has a prepared image no longer: the next use prepares it again. */
  onGone(name: string): void;
}

export function createImageStore(options: {
  catalogue: Catalogue;
  guestFile: string;
  transport: ImageTransport;
  log: Log;
}): ImageStore {
  const { catalogue, log } = options;
  const prepared = new Map<string, PreparedImage | ImageUnusableError>();
  const gone = new Set<string>();
  /** Whoever wants an image that is being prepared waits for the same preparation. */
  const underWay = new Map<string, Promise<PreparedImage>>();
  let guest: Buffer | undefined;

  const prepareOne = async (image: Image): Promise<PreparedImage> => {
    const before = prepared.get(image.name);
    try {
      guest ??= await readFile(options.guestFile);
      const now = await prepareImage(image, { ...options, guest, before });
      prepared.set(image.name, now);
      gone.delete(image.name);
      return now;
    } catch (error) {
      if (!(error instanceof ImageUnusableError)) throw error;
      if (error !== before) log.error({ image: image.name, reason: error.message }, 'not usable');
      prepared.set(image.name, error);
      throw error;
    }
  };
  const prepareOnce = (image: Image): Promise<PreparedImage> => {
    const work =
      underWay.get(image.name) ?? prepareOne(image).finally(() => underWay.delete(image.name));
    underWay.set(image.name, work);
    return work;
  };

  const usable = (name: string): PreparedImage | undefined => {
    const image = prepared.get(name);
    return image instanceof ImageUnusableError ? undefined : image;
  };
  return {
    anyUsable: (name) => [name, ...prepared.keys()].find(usable) ?? name,
    async prepare() {
      for (const image of catalogue.values()) {
        await prepareOnce(image).catch((error: unknown) => {
          if (!(error instanceof ImageUnusableError)) throw error;
        });
      }
    },
    prepared,
    async imageOf(name) {
      const known = usable(name);
      if (known !== undefined && !gone.has(name)) return known;
      const image = catalogue.get(name);
      if (image === undefined) throw new ImageUnusableError(`no image ${name} in the catalogue`);
      return prepareOnce(image);
    },
    onGone: (name) => void gone.add(name),
  };
}

async function prepareImage(
  image: Image,
  {
    guest,
    before,
    transport,
    log,
  }: {
    guest: Buffer;
    /** What was last found. */
    before: PreparedImage | ImageUnusableError | undefined;
    transport: ImageTransport;
    log: Log;
  },
): Promise<PreparedImage> {
  const source = await transport.inspect(image.reference);
  if (source === undefined) {
    if (before instanceof ImageUnusableError && before.digest === undefined) throw before;
    throw new ImageUnusableError(
      `${image.reference} is not on this engine; scripts/setup makes the images of this project`,
    );
  }
  const { digest } = source;
  if (before instanceof ImageUnusableError && before.digest === digest) throw before;
  const unusable = (why: string, cause?: Error): ImageUnusableError =>
    new ImageUnusableError(`${image.reference}${why}`, { digest, cause });
  if (source.volumes.length > 0) {
    throw unusable(` declares volumes (${source.volumes.join(', ')}); remove VOLUME`);
  }
  if (source.onBuild.length > 0) throw unusable(' has ONBUILD steps; remove them');
  const hash = createHash('sha256')
    .update(RULES_VERSION)
    .update(digest)
    .update(guest)
    .digest('hex')
    .slice(0, 16);
  const repository = `cofferdam/${image.name}`;
  const tag = `${repository}:${hash}`;
  if ((await transport.inspect(tag)) !== undefined) return { tag, digest };

  log.info({ image: image.name }, 'preparing an image');
  const labels = { 'cofferdam.image': image.name };
  const id = await transport
    .build(contextOf(image.reference, guest), labels)
    .catch((cause: Error) => {
      if (!(cause instanceof ImageBuildError)) throw cause;
      throw unusable(`: the guest cannot be put into it: ${cause.message}`, cause);
    });
  const faults = await transport.withFiles(id, faultsOfFiles);
  if (faults.length > 0) {
    await transport.removeImage(id);
    throw unusable(`: ${faults.join('; ')}`);
  }
  await transport.tag(id, repository, hash);
  return { tag, digest };
}

function contextOf(reference: string, guest: Buffer): tar.Pack {
  const pack = tar.pack();
  pack.entry({ name: 'guest', mode: 0o755 }, guest);
  pack.entry({ name: 'Dockerfile' }, `FROM ${reference}\nCOPY guest ${GUEST_PATH}\n`);
  pack.finalize();
  return pack;
}

/** What is wrong with the files of an image; at most a few, for a person to mend. */
async function faultsOfFiles(files: NodeJS.ReadableStream): Promise<string[]> {
  const faults: string[] = [];
  const extract = tar.extract();
  extract.on('entry', (header, content, next) => {
    const fault = faultOfFile(header);
    if (fault !== undefined && faults.length < FAULTS_SHOWN) faults.push(fault);
    content.resume();
    content.once('end', next);
  });
  await pipeline(files, extract);
  return faults;
}

function faultOfFile(header: tar.Header): string | undefined {
  const name = header.name.replace(/^\.?\//, '').replace(/\/$/, '');
  const mode = header.mode ?? 0;
  const isFolder = header.type === 'directory';
  if (header.type === 'file' && (mode & SETUID_OR_SETGID) !== 0) {
    return `/${name} is setuid or setgid; remove the bit`;
  }
  if (Object.hasOwn(header.pax ?? {}, CAPABILITY_ATTRIBUTE)) {
    return `/${name} has file capabilities; remove them`;
  }
  if (isFolder && (mode & WORLD_WRITABLE) !== 0 && !MOUNT_POINTS.has(name)) {
    return `/${name} is writable for all; chmod o-w`;
  }
  if (MUST_BE_FOLDERS.has(name) && !isFolder) return `/${name} is not a folder`;
  return undefined;
}
