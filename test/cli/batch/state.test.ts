import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  type RunState,
  readState,
  refuseSecondWriter,
  removeState,
  stateFileOf,
  writeState,
} from '../../../services/cli/batch/state.ts';
import { batchFolder } from './folder.ts';

const folder = batchFolder();
const state: RunState = {
  version: 1,
  url: 'http://x',
  idempotencyKey: 'k',
  uploadDigest: 'd',
  batch: null,
  refused: 0,
  pid: process.pid,
};

describe('the state of a run', () => {
  it('is what was written last, and is nothing before that and after its removal', () => {
    const output = folder.at('r.ndjson');
    expect(readState(output)).toBeUndefined();
    writeState(output, state);
    writeState(output, { ...state, batch: 'bat_1' });
    expect(readState(output)).toEqual({ ...state, batch: 'bat_1' });
    expect(readdirSync(path.dirname(output))).toEqual(['r.ndjson.state.json']);
    removeState(output);
    expect(existsSync(stateFileOf(output))).toBe(false);
  });

  it.each([
    ['torn', '{"version":1,'],
    ['of another version', JSON.stringify({ ...state, version: 2 })],
    ['of somebody else', '{}'],
  ])('is refused by name when it is %s', (_name, text) => {
    folder.write('r.ndjson.state.json', text);
    expect(() => readState(folder.at('r.ndjson'))).toThrow(
      /r\.ndjson\.state\.json: expected what `cofferdam batch` wrote.*Remove both to start anew/,
    );
  });

  it('is refused by name where it cannot be written', () => {
    expect(() => writeState(folder.at('no/r'), state)).toThrow(/no\/r\.state\.json: ENOENT/);
  });
});

describe('a second writer', () => {
  it('is refused while the first one lives, and not once it has ended or is something else', async () => {
    const script = 'process.stdout.write("up"); setInterval(() => {}, 1000)';
    const child = spawn(process.execPath, ['-e', script, 'batch'], { stdio: 'pipe' });
    const pid = child.pid as number;
    await new Promise((resolve) => child.stdout.once('data', resolve));
    expect(() => refuseSecondWriter('r', { ...state, pid })).toThrow(`by process ${pid}`);
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await exited;
    refuseSecondWriter('r', { ...state, pid });
    refuseSecondWriter('r', { ...state, pid: process.ppid });
    refuseSecondWriter('r', state);
  });
});
