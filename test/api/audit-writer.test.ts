import { describe, expect, it } from 'vitest';
import { createAuditWriter } from '../../services/api/audit-writer.ts';
import type { AuditEntry } from '../../shared/contract/audit.ts';
import { readAudit, readAuditHeads } from '../../shared/queue/audit.ts';
import { createVerification } from '../../shared/queue/audit-chain.ts';
import { createSeal } from '../../shared/queue/signature.ts';
import { eventually, silent, type TestRedis, withRedis } from '../shared/queue/redis.ts';

const seal = createSeal([{ id: 'k', secret: 's'.repeat(32) }]);
const actOf = (act: string, subject: string, detail = {}): AuditEntry => ({
  kind: 'act',
  id: subject,
  time: new Date().toISOString(),
  caller: null,
  act,
  subject,
  detail,
});

/** On a connection that fails fast, as that of requests does. */
async function aWriter(server: TestRedis) {
  const redis = await server.connect('request');
  const writer = createAuditWriter({ redis, seal, log: silent, actOf });
  await writer.start();
  return writer;
}

async function state({ redis }: TestRedis) {
  const verification = createVerification(await readAuditHeads(redis, seal));
  const records = await readAudit(redis, { most: 1000 });
  for (const record of records) verification.add(record);
  const subjects = records.flatMap(({ entry }) =>
    entry?.kind === 'act' && entry.act === 'test' ? [entry.subject] : [],
  );
  return { subjects, ...verification.finish(await readAuditHeads(redis, seal)) };
}

describe('a chain of records', () => {
  it('begins with its first record: a process that records nothing leaves nothing', () =>
    withRedis({}, async (server) => {
      const writer = await aWriter(server);
      await writer.stop();
      expect(await state(server)).toMatchObject({ records: 0, chains: 0 });
    }));

  it('has all records in their order once Redis is back, none twice', () =>
    withRedis({ appendonly: 'yes', appendfsync: 'always' }, async (server) => {
      const writer = await aWriter(server);
      writer.write(actOf('test', '1'));
      await writer.sent();
      await server.kill();
      writer.write(actOf('test', '2'));
      writer.write(actOf('test', '3'));
      expect(await writer.sent(50)).toBe(false);
      await server.restart();
      writer.write(actOf('test', '4'));
      await eventually('all are sent', () => writer.sent());
      writer.write(actOf('test', '5'));
      await writer.stop();
      expect(await state(server)).toMatchObject({
        subjects: ['1', '2', '3', '4', '5'],
        chains: 1,
        breaks: [],
      });
    }));

  it('is sent whole to a Redis that forgot the script', () =>
    withRedis({}, async (server) => {
      const writer = await aWriter(server);
      await server.redis.script('FLUSH');
      for (let at = 0; at < 20; at++) writer.write(actOf('test', String(at)));
      await eventually('all are sent', () => writer.sent());
      await writer.stop();
      const { subjects, breaks } = await state(server);
      expect(subjects).toEqual(Array.from({ length: 20 }, (_, at) => String(at)));
      expect(breaks).toEqual([]);
    }));

  it('ends, and another begins, when Redis lost what it had taken', () =>
    withRedis({}, async (server) => {
      const writer = await aWriter(server);
      writer.write(actOf('test', '1'));
      await writer.sent();
      await server.redis.flushall();
      writer.write(actOf('test', '2'));
      await eventually('all are sent', () => writer.sent());
      writer.write(actOf('test', '3'));
      await writer.stop();
      expect(await state(server)).toMatchObject({ subjects: ['2', '3'], chains: 1, breaks: [] });
    }));

  it('is not waited for without end when the process stops', () =>
    withRedis({}, async (server) => {
      const writer = await aWriter(server);
      writer.write(actOf('test', '1'));
      await writer.sent();
      await server.kill();
      writer.write(actOf('test', '2'));
      await writer.stop();
    }));
});
