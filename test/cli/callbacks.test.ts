import { describe, expect, it } from 'vitest';
import { showDead } from '../../services/cli/callbacks.ts';

describe('callbacks dead', () => {
  it('has a line for each, with the target and not the whole URL, which may hold a secret', () => {
    const text = showDead([
      {
        id: 'cb_job_1',
        type: 'job.done',
        subject: 'job_1',
        url: 'https://hooks.example:8443/a?token=secret',
        at: '2030-01-01T00:00:00.000Z',
        deadAt: '2030-01-01T09:00:00.000Z',
        attempts: 8,
        reason: 'the receiver answered 500',
      },
    ]);
    const [, line] = text.split('\n');
    expect(line).toMatch(
      /^cb_job_1 +2030-01-01T09:00:00.000Z +8 +hooks.example:8443 +the receiver/,
    );
    expect(text).not.toContain('secret');
  });

  it('without any is its head', () => {
    expect(showDead([]).split('\n')).toHaveLength(1);
  });
});
