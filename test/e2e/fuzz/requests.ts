/** Malformed requests to every route of the document and to every method and tool of MCP, each by its number. */
import { malformedJson } from './malformed-json.ts';
import { mcpRequest } from './mcp-requests.ts';
import { ODD_PARAMETERS, ODD_SEGMENTS, oddRequest } from './odd-requests.ts';
import { type Random, randomOf } from './random.ts';
import { EXAMPLES, type Examples, type Schema, sample } from './sample.ts';
import type { Route, Target } from './target.ts';
import { badlyFramed, type Plain, type Shot, wellFramed } from './wire.ts';

/** The request of this number: the same for the same seed and target. */
export function shotOf(target: Target, seed: number, number: number): Shot & { about: string } {
  const random = randomOf(seed, number);
  const plain = random.chance(0.4) ? mcpRequest(target, random) : httpRequest(target, random);
  const odd = random.chance(0.35) ? oddRequest(plain, random) : plain;
  const shot = random.chance(0.12) ? badlyFramed(odd, random) : wellFramed(odd);
  return { ...shot, about: `${plain.method} ${plain.target.slice(0, 60)}` };
}

function httpRequest(target: Target, random: Random): Plain {
  const { host, ids, revision } = target;
  const route = random.pick(target.routes);
  const folder = route.path.split('/')[2] ?? '';
  const id = ids[folder] ?? 'x';
  const key = folder === 'approvals' ? target.approverKey : target.key;
  const examples: Examples = { ...EXAMPLES, 'if-match': `"${revision}"` };
  const param = (name: string): string =>
    random.chance(0.6) ? id : random.pick([...ODD_SEGMENTS, `${name}_${'0'.repeat(32)}`]);
  const path = route.path.replace(/\{(.+?)\}/g, (_, name: string) => param(name));
  const asked = (place: string) =>
    route.parameters
      .filter((one) => one.in === place && random.chance(0.5))
      .map(({ name, schema }): [string, string] => [
        name,
        random.chance(0.5)
          ? String(sample(schema, random, examples, name))
          : random.pick(ODD_PARAMETERS),
      ]);
  const query = asked('query').map(([name, value]) => `${name}=${encodeOdd(value)}`);
  const body = bodyOf(route, random, examples);
  return {
    method: route.method,
    target: path + (query.length === 0 ? '' : `?${query.join('&')}`),
    headers: [
      ['Host', host],
      ['Authorization', `Bearer ${key}`],
      ...asked('header').map(([name, value]) => [name, oneLine(value)] as const),
      ...(body === undefined ? [] : [['Content-Type', body.type] as const]),
    ],
    body: body?.bytes,
  };
}

/** Text of a header: what ends its line would only be another framing. */
const oneLine = (text: string): string => text.replace(/[\r\n\0]/g, ' ');
const encodeOdd = (text: string): string => encodeURIComponent(text.toWellFormed());

function bodyOf(route: Route, random: Random, examples: Examples) {
  if (route.body === undefined) return undefined;
  const { type } = route;
  const of = (schema: Schema): string => {
    const value = sample(schema, random, examples);
    return malformedJson(route.path === '/v1/policy' ? policyDocument(random) : value, random);
  };
  if (route.path === '/v1/batches' && random.chance(0.5)) {
    const job = route.body.properties?.jobs?.items ?? {};
    const lines = Array.from({ length: random.below(5) }, () => of(job));
    if (random.chance(0.3)) lines.unshift(malformedJson({ batch: { name: 'b' } }, random));
    const end = random.pick(['\n', '\n', '\r\n', '\n\n', '\0', ' ']);
    return { type: 'application/x-ndjson', bytes: Buffer.from(lines.join(end)) };
  }
  if (route.path === '/v1/policy' && random.chance(0.4)) {
    return { type: 'application/yaml', bytes: Buffer.from(of(route.body)) };
  }
  return { type, bytes: Buffer.from(of(route.body)) };
}

/** A document that would put itself in force fails its own test: what is sent after it meets the same policy. */
function policyDocument(random: Random): unknown {
  const value = random.pick<unknown>(['x', 1, ['a'], '(a+)+$', '[']);
  const op = random.pick(['eq', 'in', 'gt', 'between', 'regex', 'glob', 'subset_of', 'size_lte']);
  const path = random.pick([
    'args.command.0',
    'effective.limits.memoryMb',
    'caller.name',
    'time.x',
  ]);
  const rule = {
    name: 'r',
    tools: ['exec', 'job_*'],
    who: { callers: ['*'], scopes: ['exec:run'] },
    when: { any: [{ path, op, value }, { not: { path, op, value, each: 'any' } }] },
    action: random.pick(['deny', 'allow', 'require_approval', 'limit']),
    reason: 'no',
    rate_limit: { max: 10, window: random.pick<unknown>([60, '60s', 'minute']), per: 'session' },
    constrain: { max: { timeoutMs: 1000 }, onExceed: 'deny' },
  };
  const test = { name: 't', tool: 'job_get', args: {}, expect: 'rate_limited' };
  return { version: '1', name: 'fuzz', default: 'allow', rules: [rule], tests: [test] };
}
