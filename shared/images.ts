/**
 * The operator's catalogue: which images jobs may name, where each comes from, and what runs a `script` in it. The API
 * judges requests by it; the worker makes sandboxes from it.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';

const catalogueEntry = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'expected lower-case letters, digits, dashes'),
  reference: z.string().min(1),
  script: z
    .strictObject({
      command: z.array(z.string().min(1)).min(1),
      extension: z.string().regex(/^[a-z0-9]{1,8}$/),
    })
    .optional(),
});

export type Image = z.infer<typeof catalogueEntry>;
export type Catalogue = ReadonlyMap<string, Image>;

const OWN_CATALOGUE = 'images/catalogue.json';

/** The folder that holds package.json, whether this runs from the sources or from dist/. */
export const packageRoot = import.meta.dirname.includes(`${path.sep}dist${path.sep}`)
  ? path.resolve(import.meta.dirname, '../..')
  : path.resolve(import.meta.dirname, '..');

/** Reads the catalogue; throws an Error that names the file and everything wrong in it. */
export function readCatalogue(file: string | undefined): Catalogue {
  const from = file ?? path.join(packageRoot, OWN_CATALOGUE);
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(from, 'utf8'));
  } catch (cause) {
    throw new Error(`The image catalogue ${from} cannot be read: ${(cause as Error).message}`, {
      cause,
    });
  }
  const parsed = z.array(catalogueEntry).min(1).safeParse(content);
  if (!parsed.success) {
    throw new Error(`The image catalogue ${from} is not usable:\n${z.prettifyError(parsed.error)}`);
  }
  const names = parsed.data.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) {
    throw new Error(
      `The image catalogue ${from} is not usable: it names the image ${twice} twice.`,
    );
  }
  return new Map(parsed.data.map((image) => [image.name, image]));
}
