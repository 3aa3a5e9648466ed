import { describe, expect, it } from 'vitest';
import { resolve } from '../../../services/api/policy/resolve.ts';
import { parseSettings } from '../../../shared/config/settings.ts';
import { jobRequest } from '../../../shared/contract/request.ts';
import { jobSpec } from '../../../shared/contract/spec.ts';
import { readCatalogue } from '../../../shared/images.ts';

const rules = {
  limits: parseSettings({}).limits,
  runtimes: parseSettings({}).runtimes,
  defaultImage: 'base',
  catalogue: readCatalogue(undefined),
};
const specOf = (request: unknown) => resolve(jobRequest.parse(request), rules).spec;

describe('a spec', () => {
  it.each([
    { command: ['true'] },
    { script: 'echo', image: 'python', cwd: 'a/b', stdin: '' },
    {
      steps: [
        { name: 'a', command: ['cc'] },
        { name: 'b', script: 'x', stdin: 'y', timeoutMs: 5 },
      ],
      files: [{ path: 'a/b', content: 'AA==', encoding: 'base64', executable: true }],
      collect: ['**/*.o'],
      env: { A: 'b' },
      limits: { cpus: 0.25, memoryMb: 64 },
      parseJson: true,
      truncate: 'tail',
      onLost: 'fail',
    },
  ])('is the same after the way through Redis: %o', (request) => {
    const spec = specOf(request);
    expect(jobSpec.parse(JSON.parse(JSON.stringify(spec)))).toEqual(spec);
  });

  it('of another version, with a field more or a field less, is not run', () => {
    const spec = specOf({ command: ['true'] });
    const { cwd: _, ...less } = spec;
    for (const bad of [
      { ...spec, version: 1 },
      { ...spec, extra: 1 },
      less,
      { ...spec, steps: [] },
    ]) {
      expect(jobSpec.safeParse(bad).success).toBe(false);
    }
  });

  it('that was tampered with leads to no path outside of /work', () => {
    const spec = specOf({ command: ['true'] });
    const file = { path: '../x', content: '', encoding: 'utf8', executable: false };
    for (const bad of [{ cwd: '/etc' }, { cwd: '..' }, { files: [file] }, { collect: ['/x'] }]) {
      expect(jobSpec.safeParse({ ...spec, ...bad }).success).toBe(false);
    }
  });
});
