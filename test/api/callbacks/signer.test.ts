import { Webhook } from 'standardwebhooks';
import { describe, expect, it } from 'vitest';
import { createSigner } from '../../../services/api/callbacks/signer.ts';

const RAW = 'a secret of 32 characters or more.';
const STANDARD = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const message = (tenant: string) => ({ id: 'cb_job_1', tenant, body: '{"type":"job.done"}' });

describe('a signature', () => {
  it('is verified by the library with the secret of the operator', () => {
    const headers = createSigner(STANDARD).headersFor(message('default'));
    expect(headers['webhook-id']).toBe('cb_job_1');
    expect(new Webhook(STANDARD).verify(message('default').body, headers)).toEqual({
      type: 'job.done',
    });
  });

  it('is made with the characters of a secret that is not in the form of the standard', () => {
    const headers = createSigner(RAW).headersFor(message('default'));
    const webhook = new Webhook(RAW, { format: 'raw' });
    expect(webhook.verify(message('default').body, headers)).toBeDefined();
  });

  it('H31 of another body, id or time does not verify', () => {
    const headers = createSigner(STANDARD).headersFor(message('default'));
    const webhook = new Webhook(STANDARD);
    const { body } = message('default');
    expect(() => webhook.verify('{"type":"batch.done"}', headers)).toThrow();
    expect(() => webhook.verify(body, { ...headers, 'webhook-id': 'cb_job_2' })).toThrow();
    const old = String(Number(headers['webhook-timestamp']) - 301);
    expect(() => webhook.verify(body, { ...headers, 'webhook-timestamp': old })).toThrow();
  });

  it.each([RAW, STANDARD])('of one tenant is not to be made by another, by %s', (secret) => {
    const signer = createSigner(secret);
    const headers = signer.headersFor(message('one'));
    const { body } = message('one');
    expect(new Webhook(signer.secretOf('one')).verify(body, headers)).toBeDefined();
    expect(() => new Webhook(signer.secretOf('two')).verify(body, headers)).toThrow();
    const operator = secret.startsWith('whsec_')
      ? new Webhook(secret)
      : new Webhook(secret, { format: 'raw' });
    expect(() => operator.verify(body, headers)).toThrow();
    expect(createSigner(secret).secretOf('one')).toBe(signer.secretOf('one'));
    expect(createSigner(`${secret.slice(0, -4)}AAA=`).secretOf('one')).not.toBe(
      signer.secretOf('one'),
    );
  });

  it('needs a secret that can be what it says', () => {
    expect(() => createSigner('whsec_this is not base64, and never was')).toThrow(
      'COFFERDAM_WEBHOOK_SECRET',
    );
  });
});
