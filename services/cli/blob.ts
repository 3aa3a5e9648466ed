/** `cofferdam blob put`: a file goes to the server once, under its digest; jobs name it by that. */
import { readFileSync } from 'node:fs';
import { blobNameOf } from '../../shared/contract/blob.ts';
import { type Connection, ServerError, sendBlob } from './client.ts';

/** Sends the file and returns its name. */
export async function putBlob(server: Connection, file: string): Promise<string> {
  let content: Buffer;
  try {
    content = readFileSync(file);
  } catch (cause) {
    throw new ServerError(`blob put: ${(cause as Error).message}`, { cause });
  }
  const blob = await blobNameOf(content);
  await sendBlob(server, blob, content);
  return blob;
}
