/** /v1/blobs/sha256:…: content that many jobs share. */
import { z } from 'zod';
import { blobView } from '../../../shared/contract/blob.ts';
import { blobName } from '../../../shared/contract/units.ts';
import { AppError } from '../../../shared/errors.ts';
import type { Blobs } from '../blobs.ts';
import { callerOf, refusals, type Server } from './server-types.ts';

const OCTET_STREAM = 'application/octet-stream';

const params = z.strictObject({
  blob: blobName.describe('`sha256:` and the digest of the bytes, in lower case.'),
});

export function blobRoutes(
  server: Server,
  { blobs, maxBlobBytes }: { blobs: Blobs; maxBlobBytes: number },
): void {
  // In a scope of its own: no other route takes bytes, and these take nothing else.
  server.register(async (plugin) => {
    const scope = plugin as Server;
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser(OCTET_STREAM, { parseAs: 'buffer' }, (_request, body, done) =>
      done(null, body),
    );
    scope.addContentTypeParser('*', (request, _payload, done) =>
      done(
        new AppError('MEDIA_TYPE_UNSUPPORTED', {
          detail: `expected ${OCTET_STREAM}; came ${request.headers['content-type'] ?? 'none'}`,
        }),
      ),
    );
    addRoutes(scope, { blobs, maxBlobBytes });
  });
}

function addRoutes(
  server: Server,
  { blobs, maxBlobBytes }: { blobs: Blobs; maxBlobBytes: number },
): void {
  server.put(
    '/v1/blobs/:blob',
    {
      config: { scope: 'exec:run' },
      bodyLimit: maxBlobBytes,
      schema: {
        summary: 'Put a blob, or make it live longer',
        description:
          'The bytes as they are. Answers 201 when it is new, 200 when it was here. Jobs name it as `files[].blob`.',
        tags: ['blobs'],
        params,
        consumes: [OCTET_STREAM],
        body: z.unknown().describe('The bytes.'),
        response: { 200: blobView, 201: blobView, ...refusals(400, 413, 415, 422, 429) },
      },
    },
    async (request, reply) => {
      // Without a content type, or with a length of 0, there is no body to parse: an empty blob.
      const content = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
      const { isNew, view } = await blobs.put(callerOf(request), request.params.blob, content);
      return reply.status(isNew ? 201 : 200).send(view);
    },
  );

  server.head(
    '/v1/blobs/:blob',
    {
      config: { scope: 'exec:read' },
      schema: {
        summary: 'Whether a blob is here',
        description: 'Its size is in `X-Blob-Bytes`, its end in `X-Blob-Expires-At`.',
        tags: ['blobs'],
        params,
        response: { 200: z.unknown().describe('It is here.'), ...refusals(400, 404) },
      },
    },
    async (request, reply) => {
      const found = await blobs.find(callerOf(request), request.params.blob);
      if (found === undefined) throw new AppError('NOT_FOUND');
      return reply
        .headers({ 'X-Blob-Bytes': found.bytes, 'X-Blob-Expires-At': found.expiresAt })
        .send();
    },
  );
}
