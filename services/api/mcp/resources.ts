/** Jobs, their output and their artifacts as resources: the same that job_get and job_output read, under addresses. */
import { isUtf8 } from 'node:buffer';
import {
  type ListResourcesResult,
  type ReadResourceResult,
  ResourceNotFoundError,
  type ResourceTemplateType,
} from '@modelcontextprotocol/server';
import { AppError } from '../../../shared/errors.ts';
import type { Caller } from '../auth.ts';
import { readOutput } from './output-bytes.ts';
import type { McpParts } from './parts.ts';

const JOB_URI = /^cofferdam:\/\/jobs\/(job_[0-9a-f]{32})(?:\/(stdout|stderr|artifacts\/(.+)))?$/;
const LISTED = 50;

const uriOf = (id: string): string => `cofferdam://jobs/${id}`;

export const RESOURCE_TEMPLATES: ResourceTemplateType[] = [
  {
    name: 'job',
    title: 'A job',
    uriTemplate: 'cofferdam://jobs/{id}',
    description: 'The result of a job, or its state so far.',
    mimeType: 'application/json',
  },
  {
    name: 'job-stdout',
    title: 'Standard output of a job',
    uriTemplate: 'cofferdam://jobs/{id}/stdout',
    description: 'What is kept of it.',
    mimeType: 'text/plain',
  },
  {
    name: 'job-stderr',
    title: 'Standard error of a job',
    uriTemplate: 'cofferdam://jobs/{id}/stderr',
    description: 'What is kept of it.',
    mimeType: 'text/plain',
  },
  {
    name: 'job-artifact',
    title: 'An artifact of a job',
    uriTemplate: 'cofferdam://jobs/{id}/artifacts/{+path}',
    description: 'A file that the job left and that `collect` named.',
  },
];

/** The newest jobs of the caller: what job_list tells, so that whoever may not call that sees none here. */
export async function listResources(
  parts: McpParts,
  caller: Caller,
  cursor: string | undefined,
): Promise<ListResourcesResult> {
  if (parts.isHidden('job_list', caller)) return { resources: [] };
  const args = cursor === undefined ? {} : { cursor };
  await parts.decide({ tool: 'job_list', caller, args, nowMs: Date.now() });
  const none = { state: undefined, label: undefined, batch: undefined };
  const times = { afterMs: undefined, beforeMs: undefined };
  const page = await parts.jobs.list(caller, { ...none, ...times, limit: LISTED, cursor });
  return {
    resources: page.jobs.map(({ id, state, outcome }) => ({
      uri: uriOf(id),
      name: id,
      description: outcome?.kind ?? state,
      mimeType: 'application/json',
    })),
    ...(page.next === null ? {} : { nextCursor: page.next }),
  };
}

/** A stranger's job is answered like one that does not exist. */
export async function readResource(
  parts: McpParts,
  uri: string,
  { caller, signal }: { caller: Caller; signal: AbortSignal },
): Promise<ReadResourceResult> {
  const [, id, part, path] = uri.match(JOB_URI) ?? [];
  if (id === undefined) throw new ResourceNotFoundError(uri);
  const nowMs = Date.now();
  const tool = part === undefined ? 'job_get' : 'job_output';
  const args = part === undefined ? { jobIds: [id] } : { jobId: id, part };
  await parts.decide({ tool, caller, args, nowMs });
  try {
    if (part === undefined) {
      const { json } = await parts.jobs.get(caller, id, 0);
      return { contents: [{ uri, mimeType: 'application/json', text: json }] };
    }
    if (path !== undefined) {
      const bytes = await parts.jobs.artifact(caller, id, decodePath(path, uri));
      return { contents: [contentOf(uri, bytes, 'application/octet-stream')] };
    }
    const stream = part === 'stdout' ? 'stdout' : 'stderr';
    const known = await readOutput(parts, { id, stream, step: undefined }, { caller, signal });
    const bytes = Buffer.concat(known.parts.map((one) => one.bytes));
    return { contents: [contentOf(uri, bytes, 'text/plain')] };
  } catch (error) {
    if (error instanceof AppError && error.code === 'NOT_FOUND')
      throw new ResourceNotFoundError(uri);
    throw error;
  }
}

function decodePath(path: string, uri: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    throw new ResourceNotFoundError(uri);
  }
}

const contentOf = (uri: string, bytes: Buffer, mimeType: string) =>
  isUtf8(bytes)
    ? { uri, mimeType: 'text/plain', text: bytes.toString('utf8') }
    : { uri, mimeType, blob: bytes.toString('base64') };
