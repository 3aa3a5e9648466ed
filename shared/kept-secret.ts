/** A secret that is made once and kept in a file of the data folder, for nobody else to read. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/**
 * What the file holds, else what `make` makes, kept there from now on. What does not look like one of ours counts as
 * none; a file that cannot be read does not: it throws.
 */
export function keptSecret(file: string, looksRight: RegExp, make: () => string): string {
  const kept = read(file);
  if (looksRight.test(kept)) return kept;
  const secret = make();
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  // Whole or not at all: a crash leaves no half a secret.
  const fresh = `${file}.${process.pid}`;
  writeFileSync(fresh, `${secret}\n`, { mode: 0o600 });
  renameSync(fresh, file);
  return secret;
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
