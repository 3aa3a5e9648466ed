import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { blobNameOf } from '../../../shared/contract/blob.ts';
import { blobName } from '../../../shared/contract/units.ts';

describe('the name of content', () => {
  it.each([0, 1, 65_536, 65_537, 3_000_000])(
    'is its SHA-256, of %i bytes on whichever thread',
    async (bytes) => {
      const content = Buffer.alloc(bytes, 'some content');
      const name = await blobNameOf(content);
      expect(name).toBe(`sha256:${createHash('sha256').update(content).digest('hex')}`);
      expect(blobName.parse(name)).toBe(name);
    },
  );

  it('is that of the bytes a view shows, not of the memory behind it', async () => {
    const memory = Buffer.alloc(200_000, 'x');
    memory.fill('y', 0, 50_000);
    const view = memory.subarray(50_000, 150_000);
    expect(await blobNameOf(view)).toBe(await blobNameOf(Buffer.from(view)));
  });
});
