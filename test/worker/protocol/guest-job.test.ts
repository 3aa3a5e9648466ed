import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  CHUNK_BYTES,
  LIMITS_FIELDS,
  MAX_PAYLOAD_BYTES,
  TO_GUEST,
} from '../../../services/worker/protocol/frame.ts';
import { encodeJob } from '../../../services/worker/protocol/guest-job.ts';
import type { JobSpec } from '../../../shared/contract/spec.ts';
import { aSpec } from '../spec.ts';
import { framesOf, intsOf } from './frames.ts';

const BLOB = `sha256:${'b'.repeat(64)}`;
const BLOB_CONTENT = Buffer.alloc(2 * CHUNK_BYTES + 7, 'blob ');
const OPTIONS = {
  streamBytes: 1000,
  lifeMs: 15_000,
  blobs: new Map([[BLOB, BLOB_CONTENT]]),
};
const encode = (over: Partial<JobSpec> = {}) => framesOf(encodeJob(aSpec(over), OPTIONS));
const nameOf = (type: number): string =>
  Object.entries(TO_GUEST).find(([, value]) => value === type)?.[0] ?? String(type);

const FULL: Partial<JobSpec> = {
  files: [
    { path: 'a', content: 'x'.repeat(2 * CHUNK_BYTES + 1), encoding: 'utf8', executable: true },
    { path: 'empty', content: '', encoding: 'utf8', executable: false },
    { path: 'b/c', content: 'AAEC', encoding: 'base64', executable: false },
  ],
  cwd: 'sub/folder',
  env: { A: '1', B: '=x' },
  steps: [
    { name: 'one', argv: ['cc', '-o', 'x'], stdin: null, timeoutMs: 7 },
    { name: 'two', argv: ['./x'], stdin: '', timeoutMs: 8 },
  ],
  collect: ['out/*', '**/x'],
};

describe('a job as the guest hears it', () => {
  it('comes in the order of the protocol', () => {
    expect(
      encode(FULL)
        .map(({ type }) => nameOf(type))
        .join(' '),
    ).toBe(
      'LIMITS FILE FILE_DATA FILE_DATA FILE_DATA FILE FILE FILE_DATA CWD ENV ENV STEP ARG ARG ARG STEP ARG COLLECT COLLECT RUN',
    );
  });

  it('keeps to that order whatever is asked', () => {
    const letters: Record<string, string> = {
      LIMITS: 'L',
      FILE: 'F',
      FILE_DATA: 'D',
      CWD: 'C',
      ENV: 'E',
      STEP: 'S',
      ARG: 'A',
      COLLECT: 'G',
      RUN: 'R',
    };
    const step = fc.record({
      name: fc.constant('s'),
      argv: fc.array(fc.string(), { minLength: 1, maxLength: 3 }),
      stdin: fc.option(fc.string()),
      timeoutMs: fc.integer({ min: 1, max: 1000 }),
    });
    const file = fc.record({
      path: fc.constant('a'),
      content: fc.string(),
      encoding: fc.constant('utf8' as const),
      executable: fc.boolean(),
    });
    const over = fc.record({
      files: fc.array(file, { maxLength: 3 }),
      cwd: fc.option(fc.constant('x')),
      env: fc.dictionary(fc.constantFrom('A', 'B', 'C'), fc.string()),
      steps: fc.array(step, { minLength: 1, maxLength: 3 }),
      collect: fc.array(fc.constant('*'), { maxLength: 3 }),
    });
    fc.assert(
      fc.property(over, (asked) => {
        const order = encode(asked)
          .map(({ type }) => letters[nameOf(type)])
          .join('');
        expect(order).toMatch(/^L(FD*)*C?E*(SA+)+G*R$/);
      }),
    );
  });

  it('begins with every limit, in the order of its fields', () => {
    const spec = aSpec({ timeoutMs: 9000, truncate: 'tail' });
    const [limits] = framesOf(encodeJob(spec, OPTIONS));
    const values = intsOf(limits?.payload ?? Buffer.alloc(0));
    expect(Object.fromEntries(LIMITS_FIELDS.map((name, index) => [name, values[index]]))).toEqual({
      wallMs: 9000,
      cpuMs: spec.limits.cpuMs,
      cpuMilli: 1000 * spec.limits.cpus,
      openFiles: spec.limits.openFiles,
      processes: spec.limits.processes,
      fileBytes: spec.limits.workspaceMb * 1024 * 1024,
      stdoutBytes: spec.limits.stdoutBytes,
      stderrBytes: spec.limits.stderrBytes,
      streamBytes: 1000,
      truncate: 1,
      artifactBytes: spec.limits.artifactBytes,
      artifactCount: 1000,
      lifeMs: 15_000,
    });
    expect(values).toHaveLength(LIMITS_FIELDS.length);
  });

  it('holds each text as it is, and files by their bytes', () => {
    const frames = encode(FULL);
    const texts = (type: number) =>
      frames.filter((one) => one.type === type).map(({ payload }) => payload.toString());
    expect(texts(TO_GUEST.ENV)).toEqual(['A=1', 'B==x']);
    expect(texts(TO_GUEST.ARG)).toEqual(['cc', '-o', 'x', './x']);
    expect(texts(TO_GUEST.CWD)).toEqual(['sub/folder']);
    expect(texts(TO_GUEST.COLLECT)).toEqual(['out/*', '**/x']);
    const steps = frames.filter(({ type }) => type === TO_GUEST.STEP);
    expect(steps.map(({ payload }) => intsOf(payload))).toEqual([
      [7, 0],
      [8, 1],
    ]);
    const files = frames.filter(({ type }) => type === TO_GUEST.FILE);
    expect(
      files.map(({ payload }) => [
        intsOf(payload.subarray(0, 8))[0],
        payload.subarray(8).toString(),
      ]),
    ).toEqual([
      [1, 'a'],
      [0, 'empty'],
      [0, 'b/c'],
    ]);
    const data = frames.filter(({ type }) => type === TO_GUEST.FILE_DATA);
    expect(data.map(({ payload }) => payload.length)).toEqual([CHUNK_BYTES, CHUNK_BYTES, 1, 3]);
    expect(data.at(-1)?.payload).toEqual(Buffer.from([0, 1, 2]));
  });

  it('lays out a blob as the file that names it, byte for byte, wherever it stands', () => {
    const frames = encode({
      files: [
        { path: 'before', content: 'x', encoding: 'utf8', executable: false },
        { path: 'd/blob', blob: BLOB, executable: true },
        { path: 'again', blob: BLOB, executable: false },
      ],
    });
    const files: { path: string; executable: number; content: Buffer[] }[] = [];
    for (const { type, payload } of frames) {
      if (type === TO_GUEST.FILE) {
        const [executable = -1] = intsOf(payload.subarray(0, 8));
        files.push({ path: payload.subarray(8).toString(), executable, content: [] });
      }
      if (type === TO_GUEST.FILE_DATA) files.at(-1)?.content.push(payload);
    }
    expect(files.map(({ path, executable }) => [path, executable])).toEqual([
      ['before', 0],
      ['d/blob', 1],
      ['again', 0],
    ]);
    for (const { content } of files.slice(1)) {
      expect(content.map(({ length }) => length)).toEqual([CHUNK_BYTES, CHUNK_BYTES, 7]);
      expect(Buffer.concat(content).equals(BLOB_CONTENT)).toBe(true);
    }
  });

  it('is not made without the content of a blob that it names', () => {
    const blob = `sha256:${'c'.repeat(64)}`;
    const files = [{ path: 'a', blob, executable: false }];
    expect(() => encode({ files })).toThrow(/^a: the content of its blob is not here/);
  });

  it('rounds a quota up, so that the smallest is never none', () => {
    const spec = aSpec();
    const [limits] = framesOf(
      encodeJob({ ...spec, limits: { ...spec.limits, cpus: 0.0001 } }, OPTIONS),
    );
    expect(intsOf(limits?.payload ?? Buffer.alloc(0))[2]).toBe(1);
  });

  it('fits the longest argument that a request may hold', () => {
    const argv = ['x'.repeat(131_071)];
    expect(Buffer.byteLength(argv[0] ?? '')).toBeLessThanOrEqual(MAX_PAYLOAD_BYTES);
    expect(() => encode({ steps: [{ name: 'a', argv, stdin: null, timeoutMs: 1 }] })).not.toThrow();
  });
});
