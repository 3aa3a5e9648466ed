import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { testPolicy, validatePolicy } from '../../services/cli/policy.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const EXAMPLE = path.join(ROOT, 'docs/policies/example.yaml');
const fixture = (name: string): string => path.join(ROOT, 'test/fixtures/policies', name);

describe('cofferdam policy validate', () => {
  it('says the revision of a document that is valid', async () => {
    const { text, exitCode } = await validatePolicy(EXAMPLE);
    expect(text).toMatch(/: the policy agents is valid; revision [0-9a-f]{12}, 2 tests$/);
    expect(exitCode).toBe(0);
  });

  it('says everything that is wrong, a line each', async () => {
    const said = await validatePolicy(fixture('broken.yaml')).catch(
      (error: Error) => error.message,
    );
    const [head, ...faults] = String(said).split('\n');
    expect(head).toContain('broken.yaml is not usable:');
    expect(faults.map((line) => line.split(':')[0]).toSorted()).toEqual([
      'nmae',
      'rules.0.reason',
      'rules.0.tools.0',
    ]);
  });

  it('names the file that it cannot read', async () => {
    await expect(validatePolicy(ROOT)).rejects.toThrow(`${ROOT} cannot be read: EISDIR`);
  });

  it('takes foreign forms', async () => {
    for (const name of ['seed.json', 'intercept.yaml', 'policylayer.json']) {
      expect((await validatePolicy(fixture(name))).exitCode, name).toBe(0);
    }
  });
});

describe('cofferdam policy test', () => {
  it('passes with the example', async () => {
    expect(await testPolicy(EXAMPLE, {})).toEqual({
      text: 'ok      curl is refused\nok      the eleventh run is limited\n2 of 2 tests passed',
      exitCode: 0,
    });
  });

  it('fails where a test does, and says what came', async () => {
    const { text, exitCode } = await testPolicy(fixture('failing-test.yaml'), {});
    expect(exitCode).toBe(1);
    expect(text).toBe(
      'FAILED  nothing is allowed: expected deny; came allow by runs: allowed by runs\n0 of 1 tests passed',
    );
  });

  it('judges by the ceilings of the settings around it', async () => {
    const env = { COFFERDAM_MAX_TIMEOUT_MS: '20000' };
    const { text } = await testPolicy(EXAMPLE, env);
    // The example gives 30 s where nothing is asked for, which this server has not got.
    expect(text).toContain('refused without the policy: timeoutMs: expected at most 20000');
  });
});
