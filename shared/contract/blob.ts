/** Content that many jobs share: put once under its digest, named by jobs as `files[].blob`. */
import { createHash, webcrypto } from 'node:crypto';
import { z } from 'zod';
import { blobName } from './units.ts';

export const blobView = z.strictObject({
  blob: blobName,
  bytes: z.int().nonnegative(),
  expiresAt: z.iso
    .datetime()
    .describe('When it is gone, unless it is put again or named by a job before.'),
});

export type BlobView = z.infer<typeof blobView>;

/** Past so much the digest is made by another thread: on ours everybody would wait for it. */
const SMALL_BYTES = 65_536;

/** The name of this content. */
export async function blobNameOf(content: Uint8Array): Promise<string> {
  if (content.length <= SMALL_BYTES) {
    return `sha256:${createHash('sha256').update(content).digest('hex')}`;
  }
  const digest = await webcrypto.subtle.digest('SHA-256', content);
  return `sha256:${Buffer.from(digest).toString('hex')}`;
}
