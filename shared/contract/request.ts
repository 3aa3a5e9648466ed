/**
 * What a caller may ask: one command, script or list of steps, with everything else optional. Strict: an unknown
 * field is refused, so that a misspelt limit never silently becomes the default. Defaults and ceilings are the
 * operator's and join in policy/resolve.ts.
 */
import { z } from 'zod';
import { RUNTIMES } from '../runtimes.ts';
import { jobCallback } from './callback.ts';
import { LANES } from './lane.ts';
import {
  blobName,
  cleanText,
  groupName,
  positiveInt,
  utf8Bytes,
  variableName,
  workGlob,
  workPath,
} from './units.ts';

/** Linux refuses a single argument of 128 KiB or more (MAX_ARG_STRLEN). */
const MAX_ARGUMENT_BYTES = 131_071;
const MAX_ARGUMENTS = 256;
const MAX_STEPS = 16;
const MAX_FILES = 1000;
const MAX_VARIABLES = 256;
const MAX_LABELS = 32;
const MAX_TEXT_BYTES = 64 * 1024 * 1024;

const command = z
  .array(cleanText(MAX_ARGUMENT_BYTES))
  .min(1)
  .max(MAX_ARGUMENTS)
  .refine((argv) => argv[0] !== '', 'expected a program as the first item, came an empty string')
  .describe('The argv array, the program first. Run without a shell: no item is interpreted.');

const script = cleanText(MAX_TEXT_BYTES)
  .refine((text) => text !== '', 'expected a script, came an empty string')
  .describe("Program text, laid out as a file in /work and run by the image's interpreter.");

const timeoutMs = positiveInt.describe('Wall-clock limit in milliseconds.');

const stdin = z
  .string()
  .refine((text) => text.isWellFormed(), 'expected text without lone surrogates')
  .describe('Text for standard input. Without it, standard input is empty.');

const base64 = z.base64('expected standard base64');

const file = z
  .strictObject({
    path: workPath.describe('Path beneath /work. Missing folders are made.'),
    content: z.string().describe('The content, as `encoding` says.').optional(),
    blob: blobName.describe('Or a blob that was put before: `sha256:` and its digest.').optional(),
    encoding: z.enum(['utf8', 'base64']).default('utf8'),
    executable: z.boolean().default(false),
  })
  .superRefine(({ content, blob, encoding }, context) => {
    if ((content === undefined) === (blob === undefined)) {
      const came = content === undefined ? 'neither' : 'both';
      const message = `expected exactly one of \`content\`, \`blob\`; came ${came}`;
      context.addIssue({ code: 'custom', message });
    }
    if (content === undefined) return;
    if (encoding === 'base64' && !base64.safeParse(content).success) {
      context.addIssue({ code: 'custom', path: ['content'], message: 'expected standard base64' });
    }
    if (encoding === 'utf8' && !content.isWellFormed()) {
      context.addIssue({
        code: 'custom',
        path: ['content'],
        message: 'expected text without lone surrogates',
      });
    }
  });

const exactlyOneProgram = (
  asked: { command?: unknown; script?: unknown; steps?: unknown },
  names: readonly ('command' | 'script' | 'steps')[],
): string | undefined => {
  const given = names.filter((name) => asked[name] !== undefined);
  if (given.length === 1) return undefined;
  const came =
    given.length === 0 ? 'none of them' : given.map((name) => `\`${name}\``).join(' and ');
  return `expected exactly one of ${names.map((name) => `\`${name}\``).join(', ')}; came ${came}`;
};

const step = z
  .strictObject({
    name: z
      .string()
      .regex(/^[A-Za-z0-9._-]{1,64}$/, 'expected 1 to 64 letters, digits, dots, dashes')
      .describe('How the result names this step.'),
    command: command.optional(),
    script: script.optional(),
    stdin: stdin.optional(),
    timeoutMs: timeoutMs.optional(),
  })
  .superRefine((asked, context) => {
    const fault = exactlyOneProgram(asked, ['command', 'script']);
    if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
  });

const steps = z
  .array(step)
  .min(1)
  .max(MAX_STEPS)
  .refine(
    (list) => new Set(list.map(({ name }) => name)).size === list.length,
    'expected step names that differ',
  )
  .describe('Run in order in one sandbox, stopping at the first that does not exit with 0.');

export const limitsRequest = z
  .strictObject({
    cpuMs: positiveInt.describe('Processor time of all processes together, in milliseconds.'),
    cpus: z.number().positive().describe('Cores; fractions are allowed.'),
    memoryMb: positiveInt.describe('Memory of all processes and files of the job, in MiB.'),
    processes: positiveInt.describe('Processes and threads at once.'),
    workspaceMb: positiveInt.describe('Size of /work, in MiB; counts towards memoryMb.'),
    openFiles: positiveInt.describe('Open descriptors of one process.'),
    stdoutBytes: positiveInt.describe('Bytes of standard output that are kept.'),
    stderrBytes: positiveInt.describe('Bytes of standard error that are kept.'),
    artifactBytes: positiveInt.describe('Bytes of all artifacts together.'),
  })
  .partial();

const env = z
  .record(variableName, cleanText(MAX_ARGUMENT_BYTES))
  .refine((variables) => Object.keys(variables).length <= MAX_VARIABLES, {
    message: `expected at most ${MAX_VARIABLES} variables`,
  })
  .refine(
    (variables) =>
      Object.entries(variables).every(
        ([name, value]) => utf8Bytes(`${name}=${value}`) <= MAX_ARGUMENT_BYTES,
      ),
    `expected at most ${MAX_ARGUMENT_BYTES} bytes of name and value together`,
  )
  .describe('Environment variables, added to PATH, HOME, LANG and TMPDIR.');

const labelText = z
  .string()
  .min(1)
  .max(128)
  .refine((text) => text.isWellFormed());

/** Every field of a job by itself: what a batch may give as defaults. */
export const jobFields = z.strictObject({
  command: command.optional(),
  script: script.optional(),
  steps: steps.optional(),
  image: z.string().min(1).max(64).describe('Name of an image; /v1/info lists them.').optional(),
  runtime: z
    .enum(RUNTIMES)
    .describe('The OCI runtime under the container; /v1/info lists those on offer.')
    .optional(),
  env: env.optional(),
  cwd: workPath.describe('Working folder beneath /work; made when missing.').optional(),
  stdin: stdin.optional(),
  files: z.array(file).max(MAX_FILES).optional(),
  collect: z
    .array(workGlob)
    .max(64)
    .describe('Globs beneath /work of the files to keep as artifacts.')
    .optional(),
  labels: z
    .record(labelText, z.string().max(256))
    .refine((labels) => Object.keys(labels).length <= MAX_LABELS, {
      message: `expected at most ${MAX_LABELS} labels`,
    })
    .describe("The caller's own words about the job, to list jobs by.")
    .optional(),
  reason: z.string().max(1024).describe('Why the job is run, for people.').optional(),
  timeoutMs: timeoutMs.optional(),
  limits: limitsRequest.optional(),
  parseJson: z.boolean().describe('Parse the whole standard output as JSON.').optional(),
  truncate: z
    .enum(['head', 'tail', 'both'])
    .describe('What is kept of output past its cap; both keeps the two halves.')
    .optional(),
  isolation: z
    .enum(['job', 'group'])
    .describe(
      'job: a sandbox of its own. group: one that other jobs of this `group` used before, emptied between them.',
    )
    .optional(),
  group: groupName
    .describe("The caller's name of what shares sandboxes; in a batch by default its id.")
    .optional(),
  lane: z
    .enum(LANES)
    .describe('Which queue it waits in: somebody waits for it, or nobody does. In batches: bulk.')
    .optional(),
  onLost: z
    .enum(['retry', 'fail'])
    .describe('What happens when the platform loses a started job: a second start, or `lost`.')
    .optional(),
  expiresInMs: positiveInt.describe('How long the job may wait for its start.').optional(),
  retainMs: positiveInt.describe('How long the result is kept.').optional(),
  callback: jobCallback.optional(),
});

export const jobRequest = jobFields.superRefine((asked, context) => {
  const fault = exactlyOneProgram(asked, ['command', 'script', 'steps']);
  if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
  if (asked.steps !== undefined && asked.stdin !== undefined) {
    context.addIssue({
      code: 'custom',
      path: ['stdin'],
      message: 'expected `stdin` in the step that reads it, came beside `steps`',
    });
  }
  if ((asked.isolation === 'group') !== (asked.group !== undefined)) {
    context.addIssue({
      code: 'custom',
      path: ['group'],
      message:
        asked.group === undefined
          ? 'expected a `group` beside `isolation: group`, came none'
          : 'expected `isolation: group` beside a `group`',
    });
  }
  const paths = (asked.files ?? []).map(({ path }) => path);
  const twice = paths.find((path, index) => paths.indexOf(path) !== index);
  if (twice !== undefined) {
    context.addIssue({
      code: 'custom',
      path: ['files'],
      message: `expected each path once, came ${JSON.stringify(twice)} twice`,
    });
  }
});

export type JobRequest = z.infer<typeof jobRequest>;
export type JobRequestInput = z.input<typeof jobRequest>;

/** What the content of a file weighs in the sandbox. */
export const fileBytes = (content: string, encoding: 'utf8' | 'base64'): number =>
  encoding === 'utf8' ? utf8Bytes(content) : Buffer.byteLength(content, 'base64');
