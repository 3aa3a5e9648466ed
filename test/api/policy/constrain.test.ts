import { describe, expect, it } from 'vitest';
import { constrain as constrainSchema } from '../../../services/api/policy/constraints.ts';
import type { Judgement } from '../../../services/api/policy/judgement.ts';
import { largestBatch } from '../../../services/api/policy/policy.ts';
import type { JobRequestInput } from '../../../shared/contract/request.ts';
import { callerOfTenant } from '../caller.ts';
import { allowing, askRules, NOON_MS, policyFrom } from './asking.ts';

const command = ['true'];
const under = (constraints: object | object[], request: JobRequestInput): Judgement =>
  askRules(
    [constraints].flat().map((constrain, index) => allowing({ name: `rule-${index}`, constrain })),
    request,
  );
const specUnder = (constraints: object | object[], request: JobRequestInput) => {
  const judged = under(constraints, request);
  if (judged.kind === 'refused' || judged.resolved === null) throw new Error(judged.reason);
  return judged.resolved.spec;
};
const clamp = { onExceed: 'clamp' };

describe('a ceiling', () => {
  it('refuses what asks for more, and says so in a line', () => {
    expect(under({ max: { timeoutMs: 1000 } }, { command, timeoutMs: 2000 })).toMatchObject({
      kind: 'refused',
      rule: 'rule-0',
      reason: 'timeoutMs is at most 1000 here; came 2000',
    });
    expect(under({ max: { memoryMb: 100 } }, { command, limits: { memoryMb: 101 } })).toMatchObject(
      { kind: 'refused', reason: 'limits.memoryMb is at most 100 here; came 101' },
    );
  });

  it('lowers what nobody asked for, whatever it does with the rest', () => {
    expect(specUnder({ max: { timeoutMs: 1000 } }, { command }).timeoutMs).toBe(1000);
  });

  it('clamps where it is told to', () => {
    const max = { timeoutMs: 1000, memoryMb: 128, stdoutBytes: 10, processes: 5 };
    const spec = specUnder(
      { max, ...clamp },
      { command, timeoutMs: 5000, limits: { memoryMb: 512, processes: 50, workspaceMb: 300 } },
    );
    expect(spec.timeoutMs).toBe(1000);
    expect(spec.limits).toMatchObject({
      memoryMb: 128,
      workspaceMb: 64,
      stdoutBytes: 10,
      processes: 5,
    });
  });

  it('holds the steps of a job that it made shorter', () => {
    const steps = [
      { name: 'a', command, timeoutMs: 4000 },
      { name: 'b', command, timeoutMs: 400 },
    ];
    const spec = specUnder({ max: { timeoutMs: 1000 }, ...clamp }, { steps, timeoutMs: 5000 });
    expect(spec.steps.map(({ timeoutMs }) => timeoutMs)).toEqual([1000, 400]);
  });

  it('is the lowest of all that match; one that denies is not softened by one that clamps', () => {
    const both = [{ max: { timeoutMs: 3000 } }, { max: { timeoutMs: 1000 }, ...clamp }];
    expect(specUnder(both, { command, timeoutMs: 2000 }).timeoutMs).toBe(1000);
    expect(under(both, { command, timeoutMs: 4000 })).toMatchObject({
      kind: 'refused',
      rule: 'rule-0',
    });
  });

  it('counts files, steps and globs of artifacts', () => {
    const files = [1, 2].map((n) => ({ path: `f${n}`, content: '' }));
    expect(under({ max: { files: 1 }, ...clamp }, { command, files })).toMatchObject({
      kind: 'refused',
      reason: 'a job has at most 1 files here; came 2',
    });
    const steps = [1, 2].map((n) => ({ name: `s${n}`, command }));
    expect(under({ max: { steps: 1 } }, { steps }).kind).toBe('refused');
    const collect = ['a', 'b'];
    expect(under({ max: { artifacts: 1 } }, { command, collect }).kind).toBe('refused');
    expect(specUnder({ max: { artifacts: 1 }, ...clamp }, { command, collect }).collect).toEqual([
      'a',
    ]);
  });

  it('below what a job needs at least is a fault of the document', () => {
    expect(constrainSchema.safeParse({ max: { memoryMb: 8 } }).error?.message).toContain(
      'at least 16',
    );
    expect(constrainSchema.safeParse({ max: { memory: 80 } }).success).toBe(false);
  });
});

describe('a default', () => {
  it('is given where the caller says nothing, the smallest of several', () => {
    const both = [
      { defaults: { timeoutMs: 3000, image: 'python', memoryMb: 100 } },
      { defaults: { timeoutMs: 2000, image: 'node' } },
    ];
    const spec = specUnder(both, { command });
    expect([spec.timeoutMs, spec.image, spec.limits.memoryMb]).toEqual([2000, 'python', 100]);
    const asked = specUnder(both, { command, timeoutMs: 9000, image: 'base' });
    expect([asked.timeoutMs, asked.image]).toEqual([9000, 'base']);
  });

  it('is within the ceilings', () => {
    const both = { defaults: { timeoutMs: 3000 }, max: { timeoutMs: 1000 } };
    expect(specUnder(both, { command }).timeoutMs).toBe(1000);
  });
});

describe('a list', () => {
  it('of images is never clamped: nobody runs in another image than asked for', () => {
    const images = { images: ['py*'], ...clamp };
    expect(under(images, { command, image: 'base' })).toMatchObject({
      kind: 'refused',
      reason: 'image is one of py* here; came base',
    });
    expect(under(images, { command, image: 'python' }).kind).toBe('goes_on');
    expect(under({ runtimes: ['runsc'] }, { command }).kind).toBe('refused');
  });

  it('of variables refuses or drops the others', () => {
    const env = { LANG: 'C', LD_PRELOAD: 'x' };
    expect(under({ env: ['LANG'] }, { command, env })).toMatchObject({
      kind: 'refused',
      reason: 'env may not name LD_PRELOAD here',
    });
    const spec = specUnder({ env: ['LANG', 'LC_*'], ...clamp }, { command, env });
    expect(spec.env).toMatchObject({ LANG: 'C' });
    expect(spec.env).not.toHaveProperty('LD_PRELOAD');
  });

  it('of isolation refuses, or gives a sandbox of its own', () => {
    const request = { command, isolation: 'group' as const, group: 'g' };
    expect(under({ isolation: ['job'] }, request).kind).toBe('refused');
    expect(specUnder({ isolation: ['job'], ...clamp }, request).group).toBeNull();
    expect(under({ isolation: ['group'], ...clamp }, { command }).kind).toBe('refused');
  });
});

describe('the size of a batch', () => {
  it('is bounded by the smallest of the rules that speak of the caller', () => {
    const rules = [
      allowing({ constrain: { max: { batchSize: 50 } } }),
      allowing({ name: 'b', who: { tenants: ['acme'] }, constrain: { max: { batchSize: 9 } } }),
      allowing({ name: 'c', mode: 'shadow', constrain: { max: { batchSize: 1 } } }),
    ];
    const policy = policyFrom({ rules });
    expect(largestBatch(policy, callerOfTenant('acme'), NOON_MS)).toBe(9);
    expect(largestBatch(policy, callerOfTenant('other'), NOON_MS)).toBe(50);
    expect(largestBatch(policyFrom({}), callerOfTenant('acme'), NOON_MS)).toBeNull();
  });
});
