import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { type EventSink, followJob } from '../../services/cli/follow.ts';

type Answer = (response: http.ServerResponse, lastId: string | undefined) => void;

let server: http.Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

/** A server whose connections answer so, one after another; the last one again and again. */
async function serve(...answers: Answer[]) {
  const lastIds: (string | undefined)[] = [];
  server = http.createServer((request, response) => {
    const lastId = request.headers['last-event-id'] as string | undefined;
    lastIds.push(lastId);
    (answers.length > 1 ? answers.shift() : answers[0])?.(response, lastId);
  });
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { connection: { url: `http://127.0.0.1:${port}`, key: 'k' }, lastIds };
}

const output = (offset: number, text: string): string =>
  `event: output\nid: 1.0.${offset + text.length}.0\ndata: ${JSON.stringify({ step: 0, stream: 'stdout', offset, text })}\n\n`;
const state = (attempt: number): string =>
  `event: state\nid: ${attempt}.0.0.0\ndata: ${JSON.stringify({ id: 'j', state: 'running', attempt })}\n\n`;
const RESULT = 'event: result\nid: 1.0.9.0\ndata: {"exitCode":3}\n\n';

const refuse =
  (status: number, problem: object): Answer =>
  (response) =>
    response.writeHead(status).end(JSON.stringify(problem));

function collecting(): { sink: EventSink; text: () => string; attempts: number[] } {
  const attempts: number[] = [];
  let text = '';
  return {
    attempts,
    text: () => text,
    sink: {
      state: ({ attempt }) => void attempts.push(attempt),
      async output(_stream, bytes) {
        text += bytes.toString();
      },
    },
  };
}

const NEVER = new AbortController().signal;

describe('following a job', () => {
  it('takes what comes, bytes as well, and returns the result', async () => {
    const bytes = `event: output\nid: 1.0.2.0\ndata: {"step":0,"stream":"stdout","offset":1,"base64":"QUI="}\n\n`;
    const { connection } = await serve((response) =>
      response.end(state(1) + output(0, 'x') + bytes + RESULT),
    );
    const { sink, text, attempts } = collecting();
    const result = await followJob(connection, 'j', { sink, signal: NEVER });
    expect(result).toEqual({ exitCode: 3 });
    expect([text(), attempts]).toEqual(['xAB', [1]]);
  });

  it('comes back with the last id that it took whole, after whatever went wrong', async () => {
    const { connection, lastIds } = await serve(
      (response) => response.destroy(),
      (response) => {
        response.write(output(0, 'one '));
        response.write(output(4, 'two ').slice(0, -1));
        setTimeout(() => response.destroy(), 50);
      },
      refuse(503, { code: 'SHUTTING_DOWN', retryable: true }),
      (response) => response.end(output(4, 'two ')),
      (response) => response.end(output(8, 'three') + RESULT),
    );
    const { sink, text } = collecting();
    await followJob(connection, 'j', { sink, signal: NEVER });
    expect(text()).toBe('one two three');
    expect(lastIds).toEqual([undefined, undefined, '1.0.4.0', '1.0.4.0', '1.0.8.0']);
  });

  it('ends with a refusal that asking again would not change', async () => {
    const { connection, lastIds } = await serve(
      refuse(404, { code: 'NOT_FOUND', detail: 'none', retryable: false }),
    );
    const { sink } = collecting();
    await expect(followJob(connection, 'j', { sink, signal: NEVER })).rejects.toThrow(/NOT_FOUND/);
    expect(lastIds.length).toBe(1);
  });

  it('ends when it is interrupted: within a stream, and between two', async () => {
    for (const answer of [
      (response: http.ServerResponse) => void response.write(state(1)),
      (response: http.ServerResponse) => void response.end(),
    ]) {
      const { connection } = await serve(answer);
      const leaving = new AbortController();
      const { sink } = collecting();
      const following = followJob(connection, 'j', { sink, signal: leaving.signal });
      setTimeout(() => leaving.abort(), 150);
      await expect(following).rejects.toThrow();
      server?.closeAllConnections();
      server?.close();
    }
  });

  it('reads no more while what came is not taken', async () => {
    const { connection } = await serve((response) => {
      response.write(output(0, 'a'));
      response.write(output(1, 'b'));
      response.end(RESULT);
    });
    const taken: string[] = [];
    let isTaking = false;
    const sink: EventSink = {
      state() {},
      async output(_stream, bytes) {
        expect(isTaking).toBe(false);
        isTaking = true;
        await sleep(50);
        isTaking = false;
        taken.push(bytes.toString());
      },
    };
    await followJob(connection, 'j', { sink, signal: NEVER });
    expect(taken).toEqual(['a', 'b']);
  });
});
