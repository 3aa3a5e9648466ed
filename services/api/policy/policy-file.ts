/**
 * The file of the policy, looked at again and again rather than watched: that also sees a file that is replaced through a
 * link, as mounted ones are. A file that has just changed is read at the next look, when whoever writes it has ended.
 */
import { readFile, stat } from 'node:fs/promises';

export type ReadFile =
  | { readonly text: string; readonly fault?: undefined }
  | { readonly text?: undefined; readonly fault: string };

export interface PolicyFile {
  readonly path: string;
  /** What it holds now; undefined where nothing changed since it was read last, or is still changing. */
  read(isForced: boolean): Promise<ReadFile | undefined>;
  /** What was read did not arrive where it should: it counts as not read. */
  forget(): void;
}

/** No policy is larger; nothing that is put in its place by mistake is read into memory. */
const MAX_BYTES = 1024 * 1024;

export function createPolicyFile(path: string): PolicyFile {
  let seen = '';
  let taken = '';
  let isFirst = true;
  return {
    path,
    forget() {
      taken = '';
    },
    async read(isForced) {
      try {
        const { mtimeMs, size, ino } = await stat(path);
        const now = `${mtimeMs} ${size} ${ino}`;
        const isSettled = now === seen || isForced || isFirst;
        seen = now;
        isFirst = false;
        if ((now === taken && !isForced) || !isSettled) return undefined;
        taken = now;
        if (size > MAX_BYTES) return { fault: `expected at most ${MAX_BYTES} bytes; came ${size}` };
        return { text: await readFile(path, 'utf8') };
      } catch (error) {
        const fault = (error as NodeJS.ErrnoException).code ?? String(error);
        if (fault === taken && !isForced) return undefined;
        taken = fault;
        return { fault };
      }
    },
  };
}
