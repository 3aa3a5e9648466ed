/**
 * The blobs of jobs on this worker: each is fetched once, compared with its digest, and kept in memory while there is
 * room; the one that was not used for longest goes first. Jobs that want the same blob at once wait for one fetch. A
 * fetch that failed leaves nothing behind. Tenants do not share: what one may name, another may never have put.
 */
import { blobNameOf } from '../../shared/contract/blob.ts';
import type { SpecFile } from '../../shared/contract/spec.ts';
import { limited } from '../../shared/limited.ts';

const FETCH_WITHIN_MS = 30_000;

/** There is no such blob, or it is not what its name says: no start of the job will find another. */
export class BlobUnusableError extends Error {
  override readonly name = 'BlobUnusableError';
  readonly errno: 'ENOENT' | 'EIO';

  constructor(blob: string, errno: 'ENOENT' | 'EIO') {
    super(`${blob}: ${errno === 'ENOENT' ? 'it is not here' : 'the bytes have another digest'}`);
    this.errno = errno;
  }
}

/** Redis did not bring it; it may be there. */
export class BlobUnreachableError extends Error {
  override readonly name = 'BlobUnreachableError';
}

export interface BlobCache {
  /** The content of every blob that these files name, by its name. */
  contentsOf(tenant: string, files: readonly SpecFile[]): Promise<ReadonlyMap<string, Buffer>>;
  /** What it keeps in memory. */
  readonly bytes: number;
}

export function createBlobCache(options: {
  read: (tenant: string, blob: string) => Promise<Buffer | null>;
  maxBytes: number;
  onFetch: () => void;
}): BlobCache {
  /** In the order of their last use. */
  const kept = new Map<string, Buffer>();
  const coming = new Map<string, Promise<Buffer>>();
  let bytes = 0;

  const keep = (key: string, content: Buffer): void => {
    if (content.length > options.maxBytes) return;
    kept.set(key, content);
    bytes += content.length;
    for (const [oldest, { length }] of kept) {
      if (bytes <= options.maxBytes) return;
      kept.delete(oldest);
      bytes -= length;
    }
  };

  const fetch = async (key: string, tenant: string, blob: string): Promise<Buffer> => {
    try {
      options.onFetch();
      const content = await limited(options.read(tenant, blob), FETCH_WITHIN_MS).catch(
        (cause: Error) => {
          throw new BlobUnreachableError(`${blob}: ${cause.message}`, { cause });
        },
      );
      if (content === null) throw new BlobUnusableError(blob, 'ENOENT');
      if ((await blobNameOf(content)) !== blob) throw new BlobUnusableError(blob, 'EIO');
      keep(key, content);
      return content;
    } finally {
      coming.delete(key);
    }
  };

  const contentOf = (tenant: string, blob: string): Buffer | Promise<Buffer> => {
    const key = `${tenant} ${blob}`;
    const content = kept.get(key);
    if (content !== undefined) {
      kept.delete(key);
      kept.set(key, content);
      return content;
    }
    const fetching = coming.get(key) ?? fetch(key, tenant, blob);
    coming.set(key, fetching);
    return fetching;
  };

  return {
    async contentsOf(tenant, files) {
      const contents = new Map<string, Buffer>();
      // One after another: Redis would hold the answers to all of them in its memory.
      for (const file of files) {
        if (!('blob' in file) || contents.has(file.blob)) continue;
        contents.set(file.blob, await contentOf(tenant, file.blob));
      }
      return contents;
    },
    get bytes() {
      return bytes;
    },
  };
}
