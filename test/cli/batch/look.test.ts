import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { cancelBatch, showStatus } from '../../../services/cli/batch/look.ts';
import { runBatch } from '../../../services/cli/batch/run.ts';
import { batchFolder, jobLines } from './folder.ts';
import { type BatchServer, startBatchServer } from './server.ts';

const folder = batchFolder();
let server: BatchServer;
let stdout: string;
beforeEach(async () => {
  server = await startBatchServer();
  stdout = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    stdout += String(text);
    return true;
  });
  const file = folder.write('jobs.ndjson', jobLines([0, 3]));
  await runBatch(server, file, { output: folder.at('r'), header: {}, key: 'k' });
});
afterEach(async () => {
  vi.restoreAllMocks();
  await server.stop();
});

describe('status', () => {
  it('shows counts by state and outcome', async () => {
    expect(await showStatus(server, 'bat_k', { isJson: false, isWaiting: false })).toBe(0);
    expect(stdout).toMatch(/^bat_k done, since 2026.*\n {2}2 of 2 done, 0 running, 0 queued\n/);
    expect(stdout).toMatch(/exited_zero +1\n +exited_nonzero +1\n$/);
  });

  it('prints the same for programs, and exits as the batch did when it was waited for', async () => {
    expect(await showStatus(server, 'bat_k', { isJson: true, isWaiting: true })).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ id: 'bat_k', counts: { total: 2 } });
  });

  it('says what the server says of a batch that is not there', async () => {
    expect(await showStatus(server, 'bat_none', { isJson: false, isWaiting: false })).toBe(1);
    expect(folder.said()).toContain('BATCH_NOT_FOUND: /v1/batches/bat_none');
  });
});

describe('cancel', () => {
  it('asks for the end of a batch', async () => {
    expect(await cancelBatch(server, 'bat_k')).toBe(0);
    expect(server.asked.at(-1)).toBe('DELETE /v1/batches/bat_k');
    expect(stdout).toBe('bat_k is over: cancelled, 2 of 2 done\n');
  });
});
