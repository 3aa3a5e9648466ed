/** /v1/jobs/:id/artifacts/…: what a job left, one by one or as one tar stream. */
import tar from 'tar-stream';
import { z } from 'zod';
import type { Jobs } from '../jobs.ts';
import { callerOf, refusals, type Server } from './server-types.ts';

const bytes = z.unknown().describe('The bytes, as a download.');

/** Content of unknown origin must not be taken for a page of ours. */
const SAFE_HEADERS = {
  'Content-Disposition': 'attachment',
  'X-Content-Type-Options': 'nosniff',
  'Content-Security-Policy': "default-src 'none'; sandbox",
} as const;

export function artifactRoutes(server: Server, { jobs }: { jobs: Jobs }): void {
  server.get(
    '/v1/jobs/:id/artifacts/*',
    {
      config: { scope: 'exec:read', tool: 'job_output' },
      schema: {
        summary: 'One artifact',
        tags: ['artifacts'],
        params: z.strictObject({ id: z.string(), '*': z.string() }),
        response: { 200: bytes, ...refusals(404) },
      },
    },
    async (request, reply) => {
      const { id, '*': path } = request.params;
      const content = await jobs.artifact(callerOf(request), id, path);
      return reply.headers(SAFE_HEADERS).type('application/octet-stream').send(content);
    },
  );

  server.get(
    '/v1/jobs/:id/artifacts.tar',
    {
      config: { scope: 'exec:read', tool: 'job_output' },
      schema: {
        summary: 'All artifacts as a tar stream',
        tags: ['artifacts'],
        params: z.strictObject({ id: z.string() }),
        response: { 200: bytes, ...refusals(404) },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      const { id } = request.params;
      const paths = await jobs.artifactPaths(caller, id);
      const pack = tar.pack();
      // One artifact is in memory at a time, and the next is read when this one was taken.
      const fill = async (): Promise<void> => {
        for (const path of paths) {
          const content = await jobs.artifact(caller, id, path);
          await new Promise<void>((resolve, reject) => {
            pack.entry({ name: path, mode: 0o644 }, content, (error) =>
              error ? reject(error) : resolve(),
            );
          });
        }
        pack.finalize();
      };
      fill().catch((error: Error) => pack.destroy(error));
      return reply.headers(SAFE_HEADERS).type('application/x-tar').send(pack);
    },
  );
}
