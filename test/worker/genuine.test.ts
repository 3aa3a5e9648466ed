import { describe, expect, it, vi } from 'vitest';
import { createGenuineCheck } from '../../services/worker/genuine.ts';
import type { JobRecord } from '../../shared/queue/job-record.ts';
import { createSigner } from '../../shared/queue/signature.ts';
import { silent } from '../shared/queue/redis.ts';

const key = { id: 'k', secret: 's'.repeat(32) };
const job = { id: 'job_1', tenant: 'a', spec: '{"env":{"TOKEN":"canary"}}', expiresAtMs: 5 };
const begun = (signature: string) => ({
  spec: job.spec,
  record: { tenant: 'a', expiresAt: 5, signature } as JobRecord,
});
const logOf = () => {
  const log = Object.assign(Object.create(silent), { warn: vi.fn(), error: vi.fn() });
  return log as typeof silent & { warn: ReturnType<typeof vi.fn>; error: ReturnType<typeof vi.fn> };
};

describe('a worker', () => {
  it('with keys takes what was signed, and says loudly what it does not take', () => {
    const log = logOf();
    const isGenuine = createGenuineCheck([key], log);
    expect(isGenuine('job_1', begun(createSigner([key])(job)))).toBe(true);
    expect(log.error).not.toHaveBeenCalled();
    expect(isGenuine('job_1', begun(''))).toBe(false);
    expect(log.error).toHaveBeenCalledWith(
      expect.objectContaining({ job: 'job_1', flaw: 'unsigned' }),
      expect.any(String),
    );
    expect(JSON.stringify(log.error.mock.calls)).not.toContain('canary');
    expect(log.warn).not.toHaveBeenCalled();
  });

  it('without keys takes everything, and says so once', () => {
    const log = logOf();
    const isGenuine = createGenuineCheck([], log);
    expect(isGenuine('job_1', begun(''))).toBe(true);
    expect(isGenuine('job_1', begun('k:forged'))).toBe(true);
    expect(log.warn).toHaveBeenCalledTimes(1);
  });
});
