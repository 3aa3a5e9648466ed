/** That no flag is without a wall in the list of walls, and no wall without a row. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '../../shared/images.ts';
import { aBody } from './a-body.ts';
import { PROFILE_WALLS } from './profile-walls.ts';
import { BODY_WALLS, pathWalls } from './walls.ts';

const WALLS = [...BODY_WALLS, ...pathWalls(aBody()), ...PROFILE_WALLS];

/** Each flag by the name that its wall has: the entries of lists and mounts are flags of their own. */
function flagsOf(body: ReturnType<typeof aBody>): string[] {
  const { HostConfig: host, Labels: labels, ...config } = body;
  const { Tmpfs, Ulimits, MaskedPaths, ReadonlyPaths, SecurityOpt, ...rest } = host;
  const nameOf = (option: string): string => option.split(/[=:]/)[0] ?? '';
  return [
    ...Object.keys(config),
    ...Object.keys(labels).map((name) => `Labels.${name}`),
    ...Object.keys(rest).map((name) => `HostConfig.${name}`),
    ...Object.entries(Tmpfs).flatMap(([place, options]) =>
      options.split(',').map((option) => `HostConfig.Tmpfs.${place}.${nameOf(option)}`),
    ),
    ...Ulimits.map(({ Name }) => `HostConfig.Ulimits.${Name}`),
    ...MaskedPaths.map((one) => `HostConfig.MaskedPaths.${one}`),
    ...ReadonlyPaths.map((one) => `HostConfig.ReadonlyPaths.${one}`),
    ...SecurityOpt.map((option) => `HostConfig.SecurityOpt.${nameOf(option)}`),
  ];
}

describe('the list of walls', () => {
  it('has each flag of the body that a sandbox is made from, and no other', () => {
    const names = WALLS.map(({ flag }) => flag);
    const flags = names.filter((name) => !name.startsWith('seccomp: '));
    expect(flags.toSorted()).toEqual(flagsOf(aBody()).toSorted());
    expect(new Set(names).size).toBe(names.length);
  });

  it('names a row of the tests for each', () => {
    const missing = WALLS.filter(({ row }) => {
      const text = readFileSync(path.join(packageRoot, row.file), 'utf8');
      return !new RegExp(`['\`][^'\`\\n]*\\b${row.id}\\b`).test(text);
    });
    expect(missing.map(({ flag }) => flag)).toEqual([]);
  });

  it.each(WALLS)('changes a body where it takes $flag away', ({ breach }) => {
    const body = aBody();
    breach(body);
    expect(body).not.toEqual(aBody());
  });
});
