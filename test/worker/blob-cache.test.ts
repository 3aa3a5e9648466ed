import { describe, expect, it } from 'vitest';
import {
  BlobUnreachableError,
  BlobUnusableError,
  createBlobCache,
} from '../../services/worker/blob-cache.ts';
import { blobNameOf } from '../../shared/contract/blob.ts';
import type { SpecFile } from '../../shared/contract/spec.ts';

const KIB = 1024;
const TENANT = 't';

/** A cache over a store in memory that counts what is read of it. */
function aCache(maxBytes = 10 * KIB) {
  const store = new Map<string, Buffer>();
  const reads: string[] = [];
  let fetches = 0;
  const gate = { open: Promise.resolve() };
  const cache = createBlobCache({
    async read(tenant, blob) {
      reads.push(blob);
      await gate.open;
      return store.get(`${tenant} ${blob}`) ?? null;
    },
    maxBytes,
    onFetch: () => {
      fetches++;
    },
  });
  return {
    cache,
    store,
    gate,
    reads,
    fetches: () => fetches,
    /** Stores content of so many bytes and returns its name. */
    async put(letter: string, bytes = KIB, tenant = TENANT): Promise<string> {
      const content = Buffer.alloc(bytes, letter);
      const blob = await blobNameOf(content);
      store.set(`${tenant} ${blob}`, content);
      return blob;
    },
    async get(blob: string, tenant = TENANT): Promise<Buffer | undefined> {
      return (await cache.contentsOf(tenant, naming(blob))).get(blob);
    },
  };
}

const naming = (...blobs: string[]): SpecFile[] =>
  blobs.map((blob, at) => ({ path: `f${at}`, blob, executable: false }));

describe('the blobs of a job', () => {
  it('are those that its files name, each once; other files are none of them', async () => {
    const { cache, put, fetches } = aCache();
    const [a, b] = [await put('a'), await put('b')];
    const text = { path: 't', content: 'x', encoding: 'utf8', executable: false } as const;
    const contents = await cache.contentsOf(TENANT, [text, ...naming(a, b, a)]);
    expect([...contents.keys()]).toEqual([a, b]);
    expect(contents.get(b)).toEqual(Buffer.alloc(KIB, 'b'));
    expect(fetches()).toBe(2);
  });

  it('are fetched once for all jobs, and for all that want them at once', async () => {
    const { put, get, fetches, gate } = aCache();
    const blob = await put('a');
    let open = (): void => {};
    gate.open = new Promise((resolve) => {
      open = resolve;
    });
    const all = Promise.all(Array.from({ length: 20 }, () => get(blob)));
    open();
    const contents = await all;
    expect(new Set(contents)).toEqual(new Set([await get(blob)]));
    expect(contents[0]).toHaveLength(KIB);
    expect(fetches()).toBe(1);
  });

  it('are not shared by tenants', async () => {
    const { put, get, fetches } = aCache();
    const blob = await put('a');
    await get(blob);
    await expect(get(blob, 'other')).rejects.toThrow(BlobUnusableError);
    expect(fetches()).toBe(2);
  });
});

describe('a fetch that fails', () => {
  it('because there is no such blob says so, and is tried again for the next job', async () => {
    const { put, get, store } = aCache();
    const blob = await put('a');
    store.clear();
    await expect(get(blob)).rejects.toMatchObject({ name: 'BlobUnusableError', errno: 'ENOENT' });
    await put('a');
    expect(await get(blob)).toHaveLength(KIB);
  });

  it('because the bytes have another digest says so, and keeps none of them', async () => {
    const { cache, put, get, store } = aCache();
    const blob = await put('a');
    store.set(`${TENANT} ${blob}`, Buffer.alloc(KIB, 'b'));
    await expect(get(blob)).rejects.toMatchObject({ name: 'BlobUnusableError', errno: 'EIO' });
    expect(cache.bytes).toBe(0);
    await put('a');
    expect(await get(blob)).toEqual(Buffer.alloc(KIB, 'a'));
  });

  it('because the store failed is of another kind, for all that waited, and not kept', async () => {
    const { put, get, gate } = aCache();
    const blob = await put('a');
    gate.open = Promise.reject(new Error('away'));
    const ends = await Promise.allSettled([get(blob), get(blob)]);
    for (const end of ends) {
      expect(end).toMatchObject({ status: 'rejected', reason: expect.any(BlobUnreachableError) });
    }
    gate.open = Promise.resolve();
    expect(await get(blob)).toHaveLength(KIB);
  });
});

describe('the room of the cache', () => {
  it('is never passed; what was not used for longest goes first', async () => {
    const { cache, put, get, reads } = aCache(3 * KIB);
    const [a, b, c, d] = [await put('a'), await put('b'), await put('c'), await put('d')];
    for (const blob of [a, b, c, a, d]) await get(blob);
    expect(cache.bytes).toBe(3 * KIB);
    reads.length = 0;
    for (const blob of [a, c, d]) await get(blob);
    expect(reads).toEqual([]);
    await get(b);
    expect(reads).toEqual([b]);
  });

  it('is not given up for a blob that is larger than all of it, which is served all the same', async () => {
    const { cache, put, get, fetches } = aCache(3 * KIB);
    const small = await put('s');
    await get(small);
    const large = await put('l', 4 * KIB);
    expect(await get(large)).toHaveLength(4 * KIB);
    expect(await get(large)).toHaveLength(4 * KIB);
    expect(cache.bytes).toBe(KIB);
    expect(fetches()).toBe(3);
  });

  it('may be none at all', async () => {
    const { cache, put, get, fetches } = aCache(0);
    const blob = await put('a');
    await get(blob);
    await get(blob);
    expect(fetches()).toBe(2);
    expect(cache.bytes).toBe(0);
  });
});
