/** The settings of the runtimes that jobs may ask for, and of the one that a job gets which names none. */
import { z } from 'zod';
import { RUNTIMES, type Runtime } from '../runtimes.ts';
import { type Setting, setting } from './setting.ts';

const EXPECTED = `expected some of ${RUNTIMES.join(', ')}, with commas between`;

const runtimeList = z
  .string()
  .transform((text) => [...new Set(text.split(',').map((name) => name.trim()))])
  .pipe(z.array(z.enum(RUNTIMES, EXPECTED)));

export const RUNTIME_SETTINGS = {
  COFFERDAM_RUNTIMES: setting(
    RUNTIMES.join(','),
    runtimeList,
    'Runtimes that jobs may ask for. A worker offers those of them that its engine has and that its canary proved.',
  ),
  COFFERDAM_DEFAULT_RUNTIME: setting(
    'runc',
    z.enum(RUNTIMES, `expected one of ${RUNTIMES.join(', ')}`),
    'Runtime of a job that names none.',
  ),
} as const satisfies Record<string, Setting>;

export interface RuntimeSettings {
  readonly allowed: readonly Runtime[];
  readonly default: Runtime;
}

type Parsed = {
  [Name in keyof typeof RUNTIME_SETTINGS]: z.output<(typeof RUNTIME_SETTINGS)[Name]['schema']>;
};

export const runtimeSettings = (is: Parsed): RuntimeSettings => ({
  allowed: is.COFFERDAM_RUNTIMES,
  default: is.COFFERDAM_DEFAULT_RUNTIME,
});

export const faultsOfRuntimes = (is: Partial<Parsed>): string[] => {
  const { COFFERDAM_RUNTIMES: allowed, COFFERDAM_DEFAULT_RUNTIME: first } = is;
  if (allowed === undefined || first === undefined || allowed.includes(first)) return [];
  return [
    `COFFERDAM_DEFAULT_RUNTIME: expected one of COFFERDAM_RUNTIMES (${allowed.join(', ')}); came ${first}`,
  ];
};
