import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Resolved, type Rules, resolve } from '../../../services/api/policy/resolve.ts';
import { encodeJob } from '../../../services/worker/protocol/guest-job.ts';
import { parseSettings } from '../../../shared/config/settings.ts';
import { type JobRequestInput, jobRequest } from '../../../shared/contract/request.ts';
import { jobSpec } from '../../../shared/contract/spec.ts';
import type { AppError } from '../../../shared/errors.ts';
import { readCatalogue } from '../../../shared/images.ts';

const catalogue = new Map([
  ...readCatalogue(undefined),
  ['bare', { name: 'bare', reference: 'x' }],
]);
const rulesOf = (env: Record<string, string> = {}): Rules => ({
  limits: parseSettings(env).limits,
  runtimes: parseSettings(env).runtimes,
  defaultImage: 'base',
  catalogue,
});

const command = ['true'];
const resolved = (request: JobRequestInput, env: Record<string, string> = {}): Resolved =>
  resolve(jobRequest.parse(request), rulesOf(env));
const specOf = (request: JobRequestInput, env?: Record<string, string>) =>
  resolved(request, env).spec;

function refusalOf(request: JobRequestInput, env?: Record<string, string>): AppError | undefined {
  try {
    resolved(request, env);
    return undefined;
  } catch (error) {
    return error as AppError;
  }
}

const MIB = 1024 * 1024;

describe('a request that asks for nothing but its command', () => {
  it('gets every default', () => {
    expect(resolved({ command })).toEqual({
      request: { command },
      expiresInMs: 86_400_000,
      retainMs: 86_400_000,
      spec: {
        version: 3,
        image: 'base',
        runtime: 'runc',
        hasSteps: false,
        steps: [{ name: 'main', argv: ['true'], stdin: null, timeoutMs: 10_000 }],
        env: {
          PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
          HOME: '/work',
          LANG: 'C.UTF-8',
          TMPDIR: '/tmp',
        },
        cwd: null,
        files: [],
        collect: [],
        timeoutMs: 10_000,
        limits: {
          cpuMs: 10_000,
          cpus: 1,
          memoryMb: 256,
          processes: 64,
          workspaceMb: 64,
          openFiles: 256,
          stdoutBytes: MIB,
          stderrBytes: MIB,
          artifactBytes: 8 * MIB,
        },
        parseJson: false,
        truncate: 'both',
        onLost: 'retry',
        group: null,
        redact: [],
      },
    });
  });

  it('gets what the operator chose instead', () => {
    const env = { COFFERDAM_DEFAULT_TIMEOUT_MS: '5000', COFFERDAM_DEFAULT_CPUS: '0.5' };
    const { timeoutMs, limits } = specOf({ command }, env);
    expect([timeoutMs, limits.cpus, limits.cpuMs]).toEqual([5000, 0.5, 2500]);
  });
});

describe('what a request asks for', () => {
  it('stands above the defaults', () => {
    const env = { PATH: '/mine', A: 'b' };
    const { env: variables, cwd, ...spec } = specOf({ command, env, cwd: 'a/b', onLost: 'fail' });
    expect(variables).toEqual({ HOME: '/work', LANG: 'C.UTF-8', TMPDIR: '/tmp', ...env });
    expect([cwd, spec.onLost]).toEqual(['a/b', 'fail']);
  });

  it.each([
    ['timeoutMs', { timeoutMs: 600_001 }, 'timeoutMs: expected at most 600000; came 600001'],
    [
      'expiresInMs',
      { expiresInMs: 7 * 86_400_000 + 1 },
      'expiresInMs: expected at most 604800000; came 604800001',
    ],
    [
      'retainMs',
      { retainMs: 7 * 86_400_000 + 1 },
      'retainMs: expected at most 604800000; came 604800001',
    ],
    [
      'limits.cpuMs',
      { limits: { cpuMs: 1_200_001 } },
      'limits.cpuMs: expected at most 1200000; came 1200001',
    ],
    ['limits.cpus', { limits: { cpus: 2.01 } }, 'limits.cpus: expected at most 2; came 2.01'],
    [
      'limits.memoryMb',
      { limits: { memoryMb: 2049 } },
      'limits.memoryMb: expected at most 2048; came 2049',
    ],
    [
      'limits.processes',
      { limits: { processes: 513 } },
      'limits.processes: expected at most 512; came 513',
    ],
    [
      'limits.workspaceMb',
      { limits: { workspaceMb: 1025, memoryMb: 2048 } },
      'limits.workspaceMb: expected at most 1024; came 1025',
    ],
    [
      'limits.openFiles',
      { limits: { openFiles: 1025 } },
      'limits.openFiles: expected at most 1024; came 1025',
    ],
    [
      'limits.stdoutBytes',
      { limits: { stdoutBytes: 8 * MIB + 1 } },
      `limits.stdoutBytes: expected at most ${8 * MIB}; came ${8 * MIB + 1}`,
    ],
    [
      'limits.stderrBytes',
      { limits: { stderrBytes: 8 * MIB + 1 } },
      `limits.stderrBytes: expected at most ${8 * MIB}; came ${8 * MIB + 1}`,
    ],
    [
      'limits.artifactBytes',
      { limits: { artifactBytes: 64 * MIB + 1 } },
      `limits.artifactBytes: expected at most ${64 * MIB}; came ${64 * MIB + 1}`,
    ],
  ])(
    'above the ceiling of %s is refused with the field, the ceiling and the value',
    (field, asked, detail) => {
      const refusal = refusalOf({ command, ...asked });
      expect(refusal).toMatchObject({ code: 'LIMIT_ABOVE_CEILING', field, message: detail });
    },
  );

  it.each([
    { timeoutMs: 600_000 },
    { limits: { cpus: 2 } },
    { limits: { memoryMb: 2048, workspaceMb: 1024 } },
  ])('may be just the ceiling: %o', (asked) =>
    expect(refusalOf({ command, ...asked })).toBeUndefined(),
  );

  it.each([
    ['memory', { memoryMb: 1 }],
    ['memory', { memoryMb: 6 }],
    ['cores', { cpus: 0.001 }],
    ['descriptors', { openFiles: 1 }],
  ])('below what a sandbox can be made with (%s) is refused, not lost later: %o', (_, limits) => {
    expect(refusalOf({ command, limits })?.row.status).toBe(422);
  });

  it('names no image that the catalogue does not have', () => {
    const refusal = refusalOf({ command, image: 'ubuntu' });
    expect(refusal).toMatchObject({ code: 'IMAGE_UNKNOWN', field: 'image' });
    expect(refusal?.message).toBe('expected one of base, python, node, bare; came "ubuntu"');
    expect(refusalOf({ command, image: 'constructor' })).toMatchObject({ code: 'IMAGE_UNKNOWN' });
  });
});

describe('a script', () => {
  it.each([
    ['base', ['sh', '.script-0.sh']],
    ['python', ['python3', '.script-0.py']],
    ['node', ['node', '.script-0.js']],
  ])('of %s is laid out as a file and run by its interpreter, its stdin free', (image, argv) => {
    const { steps, files } = specOf({ image, script: 'the text', stdin: 'in' });
    expect(steps).toMatchObject([{ argv, stdin: 'in' }]);
    expect(files).toEqual([
      { path: argv[1], content: 'the text', encoding: 'utf8', executable: false },
    ]);
  });

  it('is run by its whole path when it runs in another folder', () => {
    const { steps } = specOf({ script: 'x', cwd: 'sub' });
    expect(steps[0]?.argv).toEqual(['sh', '/work/.script-0.sh']);
  });

  it('in steps has a file for each, and commands stay as they are', () => {
    const { steps, files } = specOf({
      steps: [
        { name: 'a', script: 'one' },
        { name: 'b', command: ['cat', '.script-0.sh'] },
        { name: 'c', script: 'two' },
      ],
      cwd: 'sub',
    });
    expect(steps.map(({ argv }) => argv)).toEqual([
      ['sh', '/work/.script-0.sh'],
      ['cat', '.script-0.sh'],
      ['sh', '/work/.script-2.sh'],
    ]);
    expect(files.map((file) => [file.path, 'content' in file && file.content])).toEqual([
      ['.script-0.sh', 'one'],
      ['.script-2.sh', 'two'],
    ]);
  });

  it('is refused for an image without an interpreter, at the field that asked', () => {
    expect(refusalOf({ image: 'bare', script: 'x' })).toMatchObject({
      code: 'SCRIPT_UNSUPPORTED',
      field: 'script',
    });
    const steps = [
      { name: 'a', command },
      { name: 'b', script: 'x' },
    ];
    expect(refusalOf({ image: 'bare', steps })).toMatchObject({ field: 'steps.1.script' });
  });

  it('never has the place of a file of the caller', () => {
    const files = [{ path: '.script-0.sh', content: 'mine' }];
    const refusal = refusalOf({ script: 'x', files });
    if (refusal !== undefined) return expect(refusal.row.status).toBeLessThan(500);
    const paths = specOf({ script: 'x', files }).files.map(({ path }) => path);
    expect(new Set(paths).size).toBe(paths.length);
  });
});

describe('steps', () => {
  const step = (name: string, timeoutMs?: number) => ({
    name,
    command,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  });

  it('have the time of the job unless they ask for less', () => {
    const { steps, hasSteps } = specOf({ steps: [step('a'), step('b', 100)], timeoutMs: 3000 });
    expect(steps.map(({ timeoutMs }) => timeoutMs)).toEqual([3000, 100]);
    expect(hasSteps).toBe(true);
  });

  it('may not ask for more than the job has', () => {
    expect(refusalOf({ steps: [step('a'), step('b', 3001)], timeoutMs: 3000 })).toMatchObject({
      field: 'steps.1.timeoutMs',
      message: "steps.1.timeoutMs: expected at most 3000 (the job's timeoutMs); came 3001",
    });
  });

  it('share the ceiling of output', () => {
    const steps = Array.from({ length: 16 }, (_, index) => step(`s${index}`));
    const share = (8 * MIB) / 16;
    expect(specOf({ steps }).limits.stdoutBytes).toBe(share);
    expect(refusalOf({ steps, limits: { stderrBytes: share + 1 } })?.message).toBe(
      `limits.stderrBytes: expected at most ${share} for each of 16 steps; came ${share + 1}`,
    );
  });
});

describe('the workspace', () => {
  it('is at most half of the memory by default, and always less than it', () => {
    expect(specOf({ command, limits: { memoryMb: 32 } }).limits.workspaceMb).toBe(16);
    expect(specOf({ command, limits: { memoryMb: 512 } }).limits.workspaceMb).toBe(64);
    expect(refusalOf({ command, limits: { memoryMb: 64, workspaceMb: 64 } })).toMatchObject({
      code: 'LIMIT_ABOVE_CEILING',
      field: 'limits.workspaceMb',
    });
  });

  it('is as large as the files that are laid out in it', () => {
    const file = (bytes: number) => [{ path: 'a', content: 'x'.repeat(bytes) }];
    const limits = { workspaceMb: 1, memoryMb: 64 };
    expect(refusalOf({ command, limits, files: file(MIB) })).toBeUndefined();
    expect(refusalOf({ command, limits, files: file(MIB + 1) })).toMatchObject({
      field: 'files',
      message: `files: expected at most ${MIB} bytes (limits.workspaceMb); came ${MIB + 1}`,
    });
  });
});

describe('processor time', () => {
  it('is by default what all cores could do in the time of the job, below its ceiling', () => {
    expect(specOf({ command, timeoutMs: 1001, limits: { cpus: 0.5 } }).limits.cpuMs).toBe(501);
    const env = { COFFERDAM_MAX_CPU_MS: '1000' };
    expect(specOf({ command, timeoutMs: 5000 }, env).limits.cpuMs).toBe(1000);
  });
});

describe('every request that is accepted', () => {
  it('makes a spec that the worker takes and can send to a guest', () => {
    const some = <T>(one: fc.Arbitrary<T>) => fc.option(one, { nil: undefined });
    const requests = fc.record({
      command: fc.constant(['true', 'a']),
      timeoutMs: some(fc.integer({ min: 1, max: 600_000 })),
      cwd: some(fc.constantFrom('a', 'a/b')),
      limits: fc.record({
        cpus: some(fc.double({ min: 0.0001, max: 2, noNaN: true })),
        memoryMb: some(fc.integer({ min: 1, max: 2048 })),
        workspaceMb: some(fc.integer({ min: 1, max: 64 })),
        stdoutBytes: some(fc.integer({ min: 1, max: MIB })),
      }),
    });
    fc.assert(
      fc.property(requests, (asked) => {
        const parsed = jobRequest.safeParse(JSON.parse(JSON.stringify(asked)));
        if (!parsed.success || refusalOf(parsed.data) !== undefined) return;
        const { spec } = resolve(parsed.data, rulesOf());
        expect(jobSpec.parse(JSON.parse(JSON.stringify(spec)))).toEqual(spec);
        expect(() =>
          encodeJob(spec, { streamBytes: 1, lifeMs: 1, blobs: new Map() }),
        ).not.toThrow();
      }),
      { numRuns: 300 },
    );
  });
});
