import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dockerImages } from '../../../services/worker/sandbox/docker-images.ts';
import {
  createImageStore,
  ImageUnusableError,
} from '../../../services/worker/sandbox/image-store.ts';
import type { Catalogue } from '../../../shared/images.ts';
import { packageRoot } from '../../../shared/images.ts';
import { createLog } from '../../../shared/log.ts';
import { docker } from '../../helpers/docker.ts';

const REPOSITORY = `cofferdam-test/image-store-${process.pid}`;
const ADDRESS = { socketPath: '/var/run/docker.sock' };

/** What is wrong with an image, as lines of its Dockerfile, and what its owner is told. */
const BAD: Readonly<Record<string, readonly [string, RegExp]>> = {
  volume: ['VOLUME /data', /declares volumes \(\/data\); remove VOLUME/],
  onbuild: ['ONBUILD RUN true', /has ONBUILD steps; remove them/],
  setuid: [
    'RUN cp /bin/sh /bin/up && chmod 4755 /bin/up',
    /\/up is setuid or setgid; remove the bit/,
  ],
  setgid: [
    'RUN cp /bin/sh /bin/up && chmod 2755 /bin/up',
    /\/up is setuid or setgid; remove the bit/,
  ],
  writable: ['RUN mkdir /open && chmod 1777 /open', /\/open is writable for all; chmod o-w/],
  link: ['RUN rm -rf /work && ln -s /etc /work', /\/work is not a folder/],
  guestplace: ['RUN rm -rf /.cofferdam && echo x > /.cofferdam', /\.cofferdam/],
};

async function build(name: string, lines: string): Promise<void> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-image-'));
  writeFileSync(path.join(folder, 'Dockerfile'), `FROM cofferdam-image/base:latest\n${lines}\n`);
  try {
    await promisify(execFile)(
      'docker',
      ['build', '--quiet', '--network', 'none', '--tag', `${REPOSITORY}:${name}`, folder],
      { timeout: 60_000, env: { ...process.env, DOCKER_BUILDKIT: '0' } },
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const catalogueOf = (...names: string[]): Catalogue =>
  new Map(names.map((name) => [name, { name, reference: `${REPOSITORY}:${name}` }]));

const storeOf = (catalogue: Catalogue) =>
  createImageStore({
    catalogue,
    guestFile: path.join(packageRoot, 'build/guest'),
    transport: dockerImages(ADDRESS),
    log: createLog('silent'),
  });

const derived = (name: string): Promise<string> =>
  docker('image', 'ls', '--quiet', `cofferdam/${name}`);

beforeAll(async () => {
  await build('good', 'LABEL a=b');
  await Promise.all(Object.entries(BAD).map(([name, [lines]]) => build(name, lines)));
}, 120_000);
afterAll(async () => {
  const own = await docker('image', 'ls', '--format', '{{.Repository}}:{{.Tag}}', REPOSITORY);
  const made = await docker(
    'image',
    'ls',
    '--format',
    '{{.Repository}}:{{.Tag}}',
    'cofferdam/good',
  );
  const images = [...own.split('\n'), ...made.split('\n')].filter((name) => name !== '');
  if (images.length > 0) await docker('image', 'rm', '--force', ...images);
}, 60_000);

describe('an image of the catalogue', () => {
  it('gets the guest on top of its own layers, under a tag that is the digest of both', async () => {
    const store = storeOf(catalogueOf('good'));
    await store.prepare();
    const image = await store.imageOf('good');
    expect(image.tag).toMatch(/^cofferdam\/good:[0-9a-f]{16}$/);
    expect(image.digest).toBe(
      await docker('image', 'inspect', '--format', '{{.Id}}', `${REPOSITORY}:good`),
    );
    const layers = async (name: string): Promise<string[]> =>
      JSON.parse(await docker('image', 'inspect', '--format', '{{json .RootFS.Layers}}', name));
    const [base, all] = [await layers(`${REPOSITORY}:good`), await layers(image.tag)];
    expect(all.slice(0, base.length)).toEqual(base);
    expect(all.length).toBeGreaterThan(base.length);
  });

  it('is prepared once: the second time its tag is found', async () => {
    const before = await derived('good');
    const store = storeOf(catalogueOf('good'));
    await store.prepare();
    expect(await derived('good')).toBe(before);
  });

  it.each(Object.entries(BAD))(
    'E28 with %s is not used, and its owner is told why',
    async (name, [, reason]) => {
      const store = storeOf(catalogueOf(name));
      await store.prepare();
      await expect(store.imageOf(name)).rejects.toThrow(ImageUnusableError);
      await expect(store.imageOf(name)).rejects.toThrow(reason);
      expect(await derived(name)).toBe('');
    },
  );

  it('that the engine does not have is not used, and its owner is told what makes it', async () => {
    const store = storeOf(catalogueOf('missing'));
    await store.prepare();
    await expect(store.imageOf('missing')).rejects.toThrow(/is not on this engine; scripts\/setup/);
  });

  it('that comes after the start can be used then, and one that was mended too', async () => {
    const store = storeOf(catalogueOf('mended', 'later'));
    await docker('tag', `${REPOSITORY}:volume`, `${REPOSITORY}:mended`);
    await store.prepare();
    await expect(store.imageOf('later')).rejects.toThrow(ImageUnusableError);
    const bad = store.prepared.get('mended');
    await expect(store.imageOf('mended')).rejects.toBe(bad); // not judged anew while it is the same
    for (const name of ['later', 'mended']) {
      await docker('tag', `${REPOSITORY}:good`, `${REPOSITORY}:${name}`);
    }
    expect((await store.imageOf('later')).tag).toMatch(/^cofferdam\/later:/);
    expect((await store.imageOf('mended')).tag).toMatch(/^cofferdam\/mended:/);
    for (const name of ['later', 'mended']) {
      await docker('image', 'rm', (await store.imageOf(name)).tag);
    }
  });

  it('that was removed since it was prepared is prepared again, once for all who want it', async () => {
    const store = storeOf(catalogueOf('good'));
    await store.prepare();
    const { tag } = await store.imageOf('good');
    await docker('image', 'rm', '--force', tag);
    store.onGone('good');
    const again = await Promise.all([store.imageOf('good'), store.imageOf('good')]);
    expect(again.map((image) => image.tag)).toEqual([tag, tag]);
    expect(await derived('good')).not.toBe('');
  });

  it('that is bad leaves the good ones usable', async () => {
    const store = storeOf(catalogueOf('volume', 'good'));
    await store.prepare();
    expect((await store.imageOf('good')).tag).toMatch(/^cofferdam\/good:/);
    expect(store.prepared.get('volume')).toBeInstanceOf(ImageUnusableError);
  });

  it('that is in no catalogue does not exist', async () => {
    const store = storeOf(new Map());
    await expect(store.imageOf('base')).rejects.toThrow('no image base in the catalogue');
  });

  it('leaves no container behind, whether it was good or bad', async () => {
    const images = await docker('ps', '--all', '--format', '{{.Command}}', '--no-trunc');
    expect(images).not.toContain('/never-started');
  });
});
