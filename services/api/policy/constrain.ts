/**
 * Brings a request within what all rules that match hold it to: the smallest default, the smallest ceiling, and what
 * every list allows. What the caller did not ask for is lowered; what it asked for is clamped or refused, as the rule
 * whose bound it is says. Only a number, an isolation or a variable can be clamped: nobody is given another image.
 */
import { LIMITS, type LimitName } from '../../../shared/config/limits.ts';
import type { JobRequest } from '../../../shared/contract/request.ts';
import type { Constraints } from './constraints.ts';
import { compileGlobs, type Matches } from './pattern.ts';
import type { Resolved } from './resolve.ts';

type Bounds = Constraints['max'];

export interface CompiledConstraints {
  readonly max: Bounds;
  readonly defaults: Constraints['defaults'];
  readonly images: NamedList | null;
  readonly runtimes: NamedList | null;
  readonly env: NamedList | null;
  readonly isolation: readonly ('job' | 'group')[] | null;
  readonly clamps: boolean;
  readonly batchSize: number | undefined;
}

interface NamedList {
  readonly has: Matches;
  readonly written: string;
}

const listOf = (globs: readonly string[] | undefined): NamedList | null =>
  globs === undefined ? null : { has: compileGlobs(globs), written: globs.join(', ') };

export const compileConstraints = (asked: Constraints): CompiledConstraints => ({
  max: asked.max,
  defaults: asked.defaults,
  images: listOf(asked.images),
  runtimes: listOf(asked.runtimes),
  env: listOf(asked.env),
  isolation: asked.isolation ?? null,
  clamps: asked.onExceed === 'clamp',
  batchSize: asked.max.batchSize,
});

/** A rule that matched, with what it holds the job to. */
export interface Holder {
  readonly name: string;
  readonly constraints: CompiledConstraints | null;
}

export interface Exceeded {
  readonly rule: string;
  readonly reason: string;
}

export type Constrained =
  | { readonly request: JobRequest; readonly resolved: Resolved }
  | { readonly exceeded: Exceeded };

interface Binding {
  readonly rule: string;
  readonly constraints: CompiledConstraints;
}

const LIMIT_NAMES = Object.keys(LIMITS) as LimitName[];
/** Beside `limits` in a request; all others are in it. */
const OUTER = ['timeoutMs', 'expiresInMs', 'retainMs'] as const;
const isOuter = (name: LimitName): name is (typeof OUTER)[number] =>
  OUTER.some((one) => one === name);

/** `asked` is the request resolved as it came. Throws the AppError of `resolveWith` for the operator's ceilings. */
export function constrain(
  request: JobRequest,
  asked: Resolved,
  { rules, resolveWith }: { rules: readonly Holder[]; resolveWith: (to: JobRequest) => Resolved },
): Constrained {
  const bindings = rules.flatMap(({ name, constraints }): Binding[] =>
    constraints === null ? [] : [{ rule: name, constraints }],
  );
  if (bindings.length === 0) return { request, resolved: asked };
  const joined = withDefaults(request, bindings);
  const before = joined === request ? asked : resolveWith(joined);
  const held = holdNumbers(request, joined, { bindings, before });
  if ('exceeded' in held) return held;
  const named = holdNames(held.request, before, bindings);
  if ('exceeded' in named) return named;
  if (named.request === joined) return { request: joined, resolved: before };
  return { request: named.request, resolved: resolveWith(named.request) };
}

/** The smallest number of all rules; the first image. */
function withDefaults(request: JobRequest, bindings: readonly Binding[]): JobRequest {
  let joined = request;
  for (const name of LIMIT_NAMES) {
    const values = bindings.flatMap(({ constraints }) => constraints.defaults[name] ?? []);
    if (values.length === 0 || askedNumber(request, name) !== undefined) continue;
    joined = withNumber(joined, name, Math.min(...values));
  }
  const image = bindings.find(({ constraints }) => constraints.defaults.image)?.constraints
    .defaults;
  if (request.image === undefined && image?.image !== undefined) {
    joined = { ...joined, image: image.image };
  }
  return joined;
}

const askedNumber = (request: JobRequest, name: LimitName): number | undefined =>
  isOuter(name) ? request[name] : request.limits?.[name];

const withNumber = (request: JobRequest, name: LimitName, value: number): JobRequest =>
  isOuter(name)
    ? { ...request, [name]: value }
    : { ...request, limits: { ...request.limits, [name]: value } };

const numberIn = ({ spec, ...rest }: Resolved, name: LimitName): number => {
  if (name === 'timeoutMs') return spec.timeoutMs;
  return name === 'expiresInMs' || name === 'retainMs' ? rest[name] : spec.limits[name];
};

type Held = { readonly request: JobRequest } | { readonly exceeded: Exceeded };

const exceeded = (rule: string, reason: string): Held => ({ exceeded: { rule, reason } });

function holdNumbers(
  asked: JobRequest,
  joined: JobRequest,
  { bindings, before }: { bindings: readonly Binding[]; before: Resolved },
): Held {
  let request = joined;
  for (const name of LIMIT_NAMES) {
    const came = numberIn(before, name);
    const bound = tightest(bindings, name);
    if (bound === undefined || came <= bound.most) continue;
    const denies = bindings.find((one) => !one.constraints.clamps && isBelow(one, name, came));
    if (askedNumber(asked, name) !== undefined && denies !== undefined) {
      const most = denies.constraints.max[name];
      const field = isOuter(name) ? name : `limits.${name}`;
      return exceeded(denies.rule, `${field} is at most ${most} here; came ${came}`);
    }
    request = withNumber(request, name, bound.most);
  }
  if (request === joined) return { request };
  return { request: withinItself(request, bindings) };
}

const isBelow = ({ constraints }: Binding, name: keyof Bounds, came: number): boolean =>
  (constraints.max[name] ?? Number.POSITIVE_INFINITY) < came;

function tightest(bindings: readonly Binding[], name: keyof Bounds): { most: number } | undefined {
  const values = bindings.flatMap(({ constraints }) => constraints.max[name] ?? []);
  return values.length === 0 ? undefined : { most: Math.min(...values) };
}

/** A job that was given less has steps and a workspace that fit into it. */
function withinItself(request: JobRequest, bindings: readonly Binding[]): JobRequest {
  const { timeoutMs, limits, steps } = request;
  const memoryMb = limits?.memoryMb;
  const workspaceMb = limits?.workspaceMb;
  const tooLarge =
    memoryMb !== undefined &&
    workspaceMb !== undefined &&
    workspaceMb >= memoryMb &&
    tightest(bindings, 'memoryMb') !== undefined;
  return {
    ...request,
    ...(tooLarge ? { limits: { ...limits, workspaceMb: Math.floor(memoryMb / 2) } } : {}),
    ...(steps && timeoutMs !== undefined
      ? {
          steps: steps.map((step) =>
            step.timeoutMs === undefined
              ? step
              : { ...step, timeoutMs: Math.min(step.timeoutMs, timeoutMs) },
          ),
        }
      : {}),
  };
}

function holdNames(asked: JobRequest, { spec }: Resolved, bindings: readonly Binding[]): Held {
  let request = asked;
  for (const { rule, constraints } of bindings) {
    const { images, runtimes, max } = constraints;
    const count = (field: 'files' | 'steps', came: number): Held | undefined =>
      came <= (max[field] ?? came)
        ? undefined
        : exceeded(rule, `a job has at most ${max[field]} ${field} here; came ${came}`);
    const fault =
      notListed(rule, 'image', images, spec.image) ??
      notListed(rule, 'runtime', runtimes, spec.runtime) ??
      count('files', request.files?.length ?? 0) ??
      count('steps', spec.steps.length);
    if (fault !== undefined) return fault;
    const held = holdWhatCanBeClamped(request, rule, constraints);
    if ('exceeded' in held) return held;
    request = held.request;
  }
  return { request };
}

const notListed = (
  rule: string,
  field: string,
  list: NamedList | null,
  came: string,
): Held | undefined =>
  list === null || list.has(came)
    ? undefined
    : exceeded(rule, `${field} is one of ${list.written} here; came ${came}`);

function holdWhatCanBeClamped(
  request: JobRequest,
  rule: string,
  { env, isolation, max, clamps }: CompiledConstraints,
): Held {
  let held = request;
  const strange = Object.keys(held.env ?? {}).filter((name) => env !== null && !env.has(name));
  if (strange.length > 0) {
    if (!clamps) return exceeded(rule, `env may not name ${strange.join(', ')} here`);
    const kept = Object.entries(held.env ?? {}).filter(([name]) => !strange.includes(name));
    held = { ...held, env: Object.fromEntries(kept) };
  }
  const way = held.isolation ?? 'job';
  if (isolation !== null && !isolation.includes(way)) {
    if (!clamps || way === 'job') {
      return exceeded(rule, `isolation is one of ${isolation.join(', ')} here; came ${way}`);
    }
    const { isolation: _shared, group: _name, ...alone } = held;
    held = alone;
  }
  const collect = held.collect ?? [];
  if (max.artifacts !== undefined && collect.length > max.artifacts) {
    const reason = `collect has at most ${max.artifacts} globs here; came ${collect.length}`;
    if (!clamps) return exceeded(rule, reason);
    held = { ...held, collect: collect.slice(0, max.artifacts) };
  }
  return { request: held };
}
