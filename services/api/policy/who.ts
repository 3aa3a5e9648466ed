/** Whom a rule speaks of: callers by name, the document's roles, tenants, scopes. */
import { z } from 'zod';
import { SCOPES } from '../../../shared/contract/policy.ts';
import type { Caller } from '../auth.ts';
import { compileGlobs, globSource, type Matches } from './pattern.ts';

const ROLE_PREFIX = 'role:';

export const roleName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, 'expected lower-case letters, digits, dashes');

/** Every part that is there has to hold; of a list, one item; of scopes, all. */
export const who = z.strictObject({
  callers: z.array(globSource).min(1).max(1000).optional(),
  roles: z.array(z.string()).min(1).max(100).optional(),
  tenants: z.array(globSource).min(1).max(1000).optional(),
  scopes: z.array(z.enum(SCOPES)).min(1).optional(),
});

export type Who = z.infer<typeof who>;

/** A role's name → which names of callers have it. */
export type Roles = ReadonlyMap<string, Matches>;

export const compileRoles = (roles: Readonly<Record<string, readonly string[]>>): Roles =>
  new Map(Object.entries(roles).map(([name, globs]) => [name, compileGlobs(globs)]));

/** The role that a list of callers names as `role:NAME`. */
export const roleIn = (entry: string): string | undefined =>
  entry.startsWith(ROLE_PREFIX) ? entry.slice(ROLE_PREFIX.length) : undefined;

/** Whether a name is among callers, each a glob or `role:NAME`. */
export function compileCallers(entries: readonly string[], roles: Roles): Matches {
  const named = compileGlobs(entries.filter((entry) => roleIn(entry) === undefined));
  const held = entries.flatMap((entry) => roles.get(roleIn(entry) ?? '') ?? []);
  return (name) => named(name) || held.some((has) => has(name));
}

export function compileWho(asked: Who, roles: Roles): (caller: Caller) => boolean {
  const { callers, tenants, scopes } = asked;
  const tests: ((caller: Caller) => boolean)[] = [];
  if (scopes) tests.push((caller) => scopes.every((scope) => caller.scopes.has(scope)));
  if (tenants) {
    const isOne = compileGlobs(tenants);
    tests.push((caller) => isOne(caller.tenant));
  }
  if (callers) {
    const isOne = compileCallers(callers, roles);
    tests.push((caller) => isOne(caller.name));
  }
  if (asked.roles) {
    const held = asked.roles.flatMap((role) => roles.get(role) ?? []);
    tests.push((caller) => held.some((has) => has(caller.name)));
  }
  return (caller) => tests.every((test) => test(caller));
}
