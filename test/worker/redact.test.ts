import { describe, expect, it } from 'vitest';
import type { CapturedStream } from '../../services/worker/capture.ts';
import { redactExecution, redactStream } from '../../services/worker/redact.ts';
import { aSpec } from './spec.ts';

const SECRET = [{ pattern: 'sk-[a-z]{4}', replacement: '[é]' }];
const text = (of: string, cutAt: number | null = null): CapturedStream => ({
  text: of,
  encoding: 'utf8',
  totalBytes: cutAt === null ? Buffer.byteLength(of) : 9999,
  cutAt,
});
const binary = (bytes: Buffer, cutAt: number | null = null): CapturedStream => ({
  text: bytes.toString('base64'),
  encoding: 'base64',
  totalBytes: bytes.length,
  cutAt,
});

describe('output with a secret in it', () => {
  it('is stored without it, and its bytes are counted as the program wrote them', async () => {
    expect(await redactStream(text('a sk-abcd ü\n'), SECRET, 1000)).toEqual({
      text: 'a [é] ü\n',
      encoding: 'utf8',
      totalBytes: 13,
      cutAt: null,
    });
  });

  it('has its cut where it was, on either side of which it is searched', async () => {
    const at = Buffer.byteLength('é sk-abcd');
    const masked = await redactStream(text('é sk-abcdsk-efgh end', at), SECRET, 1000);
    expect(masked).toMatchObject({ text: 'é [é][é] end', cutAt: Buffer.byteLength('é [é]') });
  });

  it('is not put together across a cut', async () => {
    const masked = await redactStream(text('sk-abcd', 5), SECRET, 1000);
    expect(masked).toMatchObject({ text: 'sk-abcd', cutAt: 5 });
  });

  it('that is not text is searched byte by byte', async () => {
    const bytes = Buffer.concat([
      Buffer.from([0xff, 0]),
      Buffer.from('sk-abcd'),
      Buffer.from([0x80]),
    ]);
    const masked = await redactStream(binary(bytes), SECRET, 1000);
    expect(masked.encoding).toBe('base64');
    expect(Buffer.from(masked.text, 'base64')).toEqual(
      Buffer.concat([Buffer.from([0xff, 0]), Buffer.from('[é]'), Buffer.from([0x80])]),
    );
  });

  it('does not outgrow its limit, and no character is split there', async () => {
    const long = [{ pattern: 'x', replacement: 'éé' }];
    const masked = await redactStream(text('xxxxx'), long, 9);
    expect(masked).toMatchObject({ text: 'éééé', cutAt: 8, totalBytes: 5 });
    const cut = await redactStream(text('ax', 1), [{ pattern: '[ax]', replacement: 'éé' }], 6);
    expect(cut).toMatchObject({ text: 'ééé', cutAt: 4 });
  });

  it('is withheld where masking it takes too long', async () => {
    const masked = await redactStream(
      text('x '.repeat(1000)),
      [{ pattern: 'x', replacement: '' }],
      9999,
      0,
    );
    expect(masked).toEqual({ text: '', encoding: 'utf8', totalBytes: 2000, cutAt: 0 });
  });

  it('is masked in both streams of every step', async () => {
    const outputs = [1, 2].map((n) => ({
      stdout: text(`sk-aaaa${n}`),
      stderr: text(`sk-bbbb${n}`),
    }));
    const execution = {
      report: undefined,
      outputs,
      artifacts: [],
      skipped: [],
      startedAtMs: 1,
      error: undefined,
      causeOfDeath: undefined,
    };
    const masked = await redactExecution(aSpec({ redact: SECRET }), execution);
    expect(JSON.stringify(masked)).not.toContain('sk-');
    expect(masked.outputs.map(({ stdout, stderr }) => stdout.text + stderr.text)).toEqual([
      '[é]1[é]1',
      '[é]2[é]2',
    ]);
  });

  it('lets others run while it is masked', async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    await redactStream(text('x '.repeat(200_000)), [{ pattern: 'x', replacement: 'y' }], 1e6);
    clearInterval(timer);
    expect(turns).toBeGreaterThan(0);
  });
});
