/** A pool over the engine in memory, with everything else as the worker builds it. */
import { createGate } from '../../../services/worker/pool/gate.ts';
import { Pool } from '../../../services/worker/pool/pool.ts';
import type { PoolOptions } from '../../../services/worker/pool/pool-options.ts';
import { createRemover } from '../../../services/worker/pool/remover.ts';
import { createUids } from '../../../services/worker/pool/uids.ts';
import { createLog } from '../../../shared/log.ts';
import { MemoryEngine, SHAPE } from './memory-engine.ts';

export const FIRST_UID = 300_000;

export function aPool(over: Partial<PoolOptions> = {}, atOnce = 8) {
  const engine = new MemoryEngine();
  const log = createLog('silent');
  const uids = createUids(FIRST_UID);
  const gate = createGate(atOnce);
  const remover = createRemover({ engine, gate, uids, log });
  const pool = new Pool({
    engine,
    watch: { isSilent: () => false, onChange: () => {} },
    gate,
    clock: { nowMs: Date.now },
    remover,
    uids,
    target: 2,
    maxReady: 20,
    firstShape: SHAPE,
    maxAgeMs: 600_000,
    maxLifeMs: 10_000,
    log,
    ...over,
  });
  return { pool, engine, uids, gate, remover };
}
