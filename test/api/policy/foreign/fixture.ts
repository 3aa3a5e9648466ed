/** A foreign document of test/fixtures/policies, loaded. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Policy } from '../../../../services/api/policy/policy.ts';
import { policyOfText } from '../asking.ts';

const FOLDER = path.resolve(import.meta.dirname, '../../../fixtures/policies');

export const textOf = (name: string): string => readFileSync(path.join(FOLDER, name), 'utf8');
export const fixture = (name: string): Policy => policyOfText(textOf(name));
