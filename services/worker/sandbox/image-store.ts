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
  /** The image by its name; throws an ImageUnusableError. */
  imageOf(name: string): PreparedImage;
  /** This one, else any other that can be used. */
  anyUsable(name: string): string;
}

export function createImageStore(options: {
  catalogue: Catalogue;
  guestFile: string;
  transport: ImageTransport;
  log: Log;
}): ImageStore {
  const prepared = new Map<string, PreparedImage | ImageUnusableError>();
  const isUsable = (name: string): boolean =>
    !((prepared.get(name) ?? new ImageUnusableError()) instanceof ImageUnusableError);
  return {
    anyUsable: (name) => [name, ...prepared.keys()].find(isUsable) ?? name,
    async prepare() {
      const guest = await readFile(options.guestFile);
      for (const image of options.catalogue.values()) {
        try {
          prepared.set(image.name, await prepareImage(image, guest, options));
        } catch (error) {
          if (!(error instanceof ImageUnusableError)) throw error;
          options.log.error({ image: image.name, reason: error.message }, 'image not usable');
          prepared.set(image.name, error);
        }
      }
    },
    prepared,
    imageOf(name) {
      const image = prepared.get(name);
      if (image === undefined) throw new ImageUnusableError(`no image ${name} in the catalogue`);
      if (image instanceof ImageUnusableError) throw image;
      return image;
    },
  };
}

async function prepareImage(
  image: Image,
  guest: Buffer,
  { transport, log }: { transport: ImageTransport; log: Log },
): Promise<PreparedImage> {
  const source = await transport.inspect(image.reference);
  if (source === undefined) {
    throw new ImageUnusableError(
      `${image.reference} is not on this engine; scripts/setup makes the images of this project`,
    );
  }
  if (source.volumes.length > 0) {
    throw new ImageUnusableError(
      `${image.reference} declares volumes (${source.volumes.join(', ')}); remove VOLUME`,
    );
  }
  if (source.onBuild.length > 0) {
    throw new ImageUnusableError(`${image.reference} has ONBUILD steps; remove them`);
  }
  const hash = createHash('sha256')
    .update(RULES_VERSION)
    .update(source.digest)
    .update(guest)
    .digest('hex')
    .slice(0, 16);
  const repository = `cofferdam/${image.name}`;
  const tag = `${repository}:${hash}`;
  if ((await transport.inspect(tag)) !== undefined) return { tag, digest: source.digest };

  log.info({ image: image.name }, 'preparing an image');
  const labels = { 'cofferdam.image': image.name };
  const id = await transport
    .build(contextOf(image.reference, guest), labels)
    .catch((cause: Error) => {
      if (!(cause instanceof ImageBuildError)) throw cause;
      throw new ImageUnusableError(
        `${image.reference}: the guest cannot be put into it: ${cause.message}`,
        { cause },
      );
    });
  const faults = await transport.withFiles(id, faultsOfFiles);
  if (faults.length > 0) {
    await transport.removeImage(id);
    throw new ImageUnusableError(`${image.reference}: ${faults.join('; ')}`);
  }
  await transport.tag(id, repository, hash);
  return { tag, digest: source.digest };
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
