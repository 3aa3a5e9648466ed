/** A caller who may do everything, of any tenant. */
import type { Caller } from '../../services/api/auth.ts';
import { SCOPES } from '../../shared/contract/policy.ts';

export const callerOfTenant = (tenant: string, over: Partial<Caller> = {}): Caller => ({
  tenant,
  grant: `key-of-${tenant}`,
  name: `user:${tenant}`,
  scopes: new Set(SCOPES),
  session: null,
  ...over,
});
