/** Request → spec: defaults joined, ceilings held, scripts laid out. Pure; refuses with an AppError. */
import { defaultWorkspaceMb, LIMITS, type LimitName } from '../../../shared/config/limits.ts';
import type { Settings } from '../../../shared/config/settings.ts';
import { fileBytes, type JobRequest } from '../../../shared/contract/request.ts';
import {
  type JobLimits,
  type JobSpec,
  type JobStep,
  SPEC_VERSION,
  type SpecFile,
} from '../../../shared/contract/spec.ts';
import { utf8Bytes } from '../../../shared/contract/units.ts';
import { AppError } from '../../../shared/errors.ts';
import type { Catalogue, Image } from '../../../shared/images.ts';
import type { Runtime } from '../../../shared/runtimes.ts';

export interface Rules {
  readonly limits: Settings['limits'];
  readonly defaultImage: string;
  readonly runtimes: Settings['runtimes'];
  readonly catalogue: Catalogue;
}

export interface Resolved {
  /** What it was resolved from: held to what a policy holds it to, and with its defaults. */
  readonly request: JobRequest;
  readonly spec: JobSpec;
  readonly expiresInMs: number;
  readonly retainMs: number;
}

const MIB = 1024 * 1024;

/** What every program finds in its environment; a caller's own variables stand above it. */
const BASE_ENV = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/work',
  LANG: 'C.UTF-8',
  TMPDIR: '/tmp',
} as const;

export function resolve(request: JobRequest, rules: Rules): Resolved {
  const image = imageOf(request.image ?? rules.defaultImage, rules.catalogue);
  const timeoutMs = limitOf('timeoutMs', request.timeoutMs, rules, 'timeoutMs');
  const { steps, scripts } = stepsOf(request, image, timeoutMs);
  const limits = limitsOf(request, { timeoutMs, steps: steps.length }, rules);
  const files = [...(request.files ?? []).map(specFileOf), ...scripts];
  refuseWhatCannotFit(files, limits);
  refuseTooMuchText(request, steps);
  return {
    request,
    expiresInMs: limitOf('expiresInMs', request.expiresInMs, rules, 'expiresInMs'),
    retainMs: limitOf('retainMs', request.retainMs, rules, 'retainMs'),
    spec: {
      version: SPEC_VERSION,
      image: image.name,
      runtime: runtimeOf(request.runtime ?? rules.runtimes.default, rules),
      hasSteps: request.steps !== undefined,
      steps,
      env: { ...BASE_ENV, ...request.env },
      cwd: request.cwd ?? null,
      files,
      collect: request.collect ?? [],
      timeoutMs,
      limits,
      parseJson: request.parseJson ?? false,
      truncate: request.truncate ?? 'both',
      onLost: request.onLost ?? 'retry',
      group: request.group ?? null,
      redact: [],
    },
  };
}

function imageOf(name: string, catalogue: Catalogue): Image {
  const image = catalogue.get(name);
  if (image !== undefined) return image;
  throw new AppError('IMAGE_UNKNOWN', {
    field: 'image',
    detail: `expected one of ${[...catalogue.keys()].join(', ')}; came ${JSON.stringify(name)}`,
  });
}

function runtimeOf(runtime: Runtime, { runtimes }: Rules): Runtime {
  if (runtimes.allowed.includes(runtime)) return runtime;
  throw new AppError('RUNTIME_UNAVAILABLE', {
    field: 'runtime',
    detail: `expected one of ${runtimes.allowed.join(', ')}; came ${runtime}`,
  });
}

function limitOf(name: LimitName, asked: number | undefined, rules: Rules, field: string): number {
  const { default: fallback, ceiling } = rules.limits[name];
  const value = asked ?? fallback ?? ceiling;
  if (value > ceiling) throw aboveCeiling(field, value, ceiling);
  const { least } = LIMITS[name];
  if (value < least) {
    throw new AppError('LIMIT_BELOW_FLOOR', {
      field,
      detail: `${field}: expected at least ${least}; came ${value}`,
    });
  }
  return value;
}

const aboveCeiling = (field: string, value: number, ceiling: number, why = ''): AppError =>
  new AppError('LIMIT_ABOVE_CEILING', {
    field,
    detail: `${field}: expected at most ${ceiling}${why}; came ${value}`,
  });

const specFileOf = ({
  path,
  content = '',
  blob,
  encoding,
  executable,
}: NonNullable<JobRequest['files']>[number]): SpecFile =>
  blob === undefined ? { path, content, encoding, executable } : { path, blob, executable };

/** One program, or several; a script becomes a file beside the caller's and the argv that runs it. */
function stepsOf(
  request: JobRequest,
  image: Image,
  timeoutMs: number,
): { steps: JobStep[]; scripts: SpecFile[] } {
  const asked = request.steps ?? [
    { name: 'main', command: request.command, script: request.script, stdin: request.stdin },
  ];
  const scripts: SpecFile[] = [];
  const steps = asked.map((step, index): JobStep => {
    const stepTimeoutMs = 'timeoutMs' in step ? step.timeoutMs : undefined;
    if (stepTimeoutMs !== undefined && stepTimeoutMs > timeoutMs) {
      throw aboveCeiling(
        `steps.${index}.timeoutMs`,
        stepTimeoutMs,
        timeoutMs,
        " (the job's timeoutMs)",
      );
    }
    const rest = {
      name: step.name,
      stdin: step.stdin ?? null,
      timeoutMs: stepTimeoutMs ?? timeoutMs,
    };
    if (step.script === undefined) return { ...rest, argv: step.command ?? [] };
    if (image.script === undefined) {
      throw new AppError('SCRIPT_UNSUPPORTED', {
        field: request.steps ? `steps.${index}.script` : 'script',
        detail: `the image ${image.name} names no interpreter`,
      });
    }
    // At the top of /work, so that a script finds the caller's files beside it; hidden, so that no glob collects it.
    const path = `.script-${index}.${image.script.extension}`;
    if (request.files?.some((file) => file.path === path)) {
      throw new AppError('REQUEST_INVALID', {
        field: 'files',
        detail: `files: expected another path than ${path}, which is where the script goes`,
      });
    }
    scripts.push({ path, content: step.script, encoding: 'utf8', executable: false });
    return { ...rest, argv: [...image.script.command, request.cwd ? `/work/${path}` : path] };
  });
  return { steps, scripts };
}

function limitsOf(
  request: JobRequest,
  job: { timeoutMs: number; steps: number },
  rules: Rules,
): JobLimits {
  const asked = request.limits ?? {};
  const limit = (name: keyof JobLimits, value = asked[name]): number =>
    limitOf(name, value, rules, `limits.${name}`);
  const cpus = limit('cpus');
  const memoryMb = limit('memoryMb');
  const workspaceMb = limit(
    'workspaceMb',
    asked.workspaceMb ?? defaultWorkspaceMb(memoryMb, rules.limits.workspaceMb.default),
  );
  if (workspaceMb >= memoryMb) {
    throw new AppError('LIMIT_ABOVE_CEILING', {
      field: 'limits.workspaceMb',
      detail: `limits.workspaceMb: expected less than limits.memoryMb (${memoryMb}), since files count towards it; came ${workspaceMb}`,
    });
  }
  const cpuCeiling = rules.limits.cpuMs.ceiling;
  return {
    cpuMs: limit('cpuMs', asked.cpuMs ?? Math.min(Math.ceil(job.timeoutMs * cpus), cpuCeiling)),
    cpus,
    memoryMb,
    processes: limit('processes'),
    workspaceMb,
    openFiles: limit('openFiles'),
    stdoutBytes: outputLimit('stdoutBytes', asked.stdoutBytes, job.steps, rules),
    stderrBytes: outputLimit('stderrBytes', asked.stderrBytes, job.steps, rules),
    artifactBytes: limit('artifactBytes'),
  };
}

/** Each step keeps so much; all of them together stay below the ceiling. */
function outputLimit(
  name: 'stdoutBytes' | 'stderrBytes',
  asked: number | undefined,
  steps: number,
  rules: Rules,
): number {
  const { default: fallback = 0, ceiling } = rules.limits[name];
  const perStep = Math.floor(ceiling / steps);
  if (asked !== undefined && asked > perStep) {
    const why = steps > 1 ? ` for each of ${steps} steps` : '';
    throw aboveCeiling(`limits.${name}`, asked, perStep, why);
  }
  return asked ?? Math.min(fallback, perStep);
}

/** The guest holds arguments, variables and globs in so much memory; Linux refuses a program a quarter of it. */
const MAX_TEXT_BYTES = 8 * MIB;

function refuseTooMuchText(
  { env = {}, collect = [] }: JobRequest,
  steps: readonly JobStep[],
): void {
  const texts = [...steps.flatMap(({ argv }) => argv), ...Object.entries(env).flat(), ...collect];
  const bytes = texts.reduce((sum, text) => sum + utf8Bytes(text) + 2, 0);
  const room = MAX_TEXT_BYTES - MIB;
  if (bytes > room)
    throw aboveCeiling('command', bytes, room, ' bytes of arguments, variables and globs together');
}

function refuseWhatCannotFit(files: readonly SpecFile[], limits: JobLimits): void {
  const bytes = files.reduce(
    (sum, file) => sum + ('content' in file ? fileBytes(file.content, file.encoding) : 0),
    0,
  );
  const room = limits.workspaceMb * MIB;
  if (bytes > room) throw aboveCeiling('files', bytes, room, ' bytes (limits.workspaceMb)');
}
