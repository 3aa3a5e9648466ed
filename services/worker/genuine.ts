/** Whether a job is what the API accepted: its signature is verified before anything of it is read. */
import type { SigningKey } from '../../shared/config/trust-settings.ts';
import type { Log } from '../../shared/log.ts';
import type { JobRecord } from '../../shared/queue/job-record.ts';
import { createVerifier } from '../../shared/queue/signature.ts';

export type IsGenuine = (id: string, begun: { spec: string; record: JobRecord }) => boolean;

export function createGenuineCheck(keys: readonly SigningKey[], log: Log): IsGenuine {
  if (keys.length === 0) {
    log.warn('COFFERDAM_SIGNING_KEYS: none, so jobs are run without verifying who made them');
  }
  const verify = createVerifier(keys);
  return (id, { spec, record }) => {
    const { tenant, expiresAt: expiresAtMs, signature } = record;
    const flaw = verify({ id, tenant, spec, expiresAtMs }, signature);
    if (flaw !== undefined) {
      log.error({ job: id, tenant, flaw }, 'a job is not what was accepted: it is not run');
    }
    return flaw === undefined;
  };
}
