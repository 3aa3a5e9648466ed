import { describe, expect, it } from 'vitest';
import { createCanary } from '../../services/worker/canary.ts';
import { type Sandbox, SandboxUnavailableError } from '../../services/worker/sandbox/sandbox.ts';
import type { Runtime } from '../../shared/runtimes.ts';
import { silent } from '../shared/queue/redis.ts';
import { MemoryEngine, SHAPE } from './pool/memory-engine.ts';
import { done, output, started, stepEnd } from './protocol/frames.ts';

const HOST = '6.18.1';
const RUNC = `${HOST} #1 SMP seccomp 2`;
const GVISOR = '4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016 seccomp 2';

/** A guest in which a program sees this; undefined: none is made. */
type Seen = Partial<Record<Runtime, string | undefined>>;

function aCanary(seen: Seen, { registered = ['runc', 'runsc'] as readonly Runtime[] } = {}) {
  const engine = new MemoryEngine();
  const discarded: Sandbox[] = [];
  const canary = createCanary({
    engine: { runtimes: registered, kernel: HOST },
    maker: {
      async make(shape) {
        const banner = seen[shape.runtime];
        if (banner === undefined) throw new SandboxUnavailableError('none');
        const order = { shape, uid: 1, nonce: shape.runtime, deadlineMs: 0 };
        const sandbox = await engine.create(order);
        setImmediate(() => {
          sandbox.session.receive(started(0));
          sandbox.session.receive(output(`${banner}\n`));
          sandbox.session.receive(stepEnd({ stdoutTotal: banner.length + 1 }));
          sandbox.session.receive(done());
        });
        return { sandbox, tookMs: 1 };
      },
      discard: (sandbox) => discarded.push(sandbox),
    },
    allowed: ['runc', 'runsc'],
    shape: SHAPE,
    onProven: () => {},
    log: silent,
  });
  return { canary, discarded };
}

const provenOf = async (...of: Parameters<typeof aCanary>) => {
  const { canary, discarded } = aCanary(...of);
  await canary.start();
  await canary.stop();
  return { proven: [...canary.proven].sort(), discarded: discarded.length };
};

describe('a canary', () => {
  it('proves each runtime by the kernel that a program sees, and lets its sandboxes go', async () => {
    const all = await provenOf({ runc: RUNC, runsc: GVISOR });
    expect(all).toEqual({ proven: ['runc', 'runsc'], discarded: 2 });
  });

  it('tries nothing that the engine does not have', async () => {
    const one = await provenOf({ runc: RUNC }, { registered: ['runc'] });
    expect(one).toEqual({ proven: ['runc'], discarded: 1 });
  });

  it.each<[string, Seen, Runtime[]]>([
    ['gVisor that is the host’s kernel', { runc: RUNC, runsc: RUNC }, ['runc']],
    ['runc that is not', { runc: GVISOR, runsc: GVISOR }, ['runsc']],
    [
      'a runtime in which our filter is not in force',
      { runc: RUNC, runsc: GVISOR.replace(/2$/, '0') },
      ['runc'],
    ],
    ['one under which nothing is made', { runc: RUNC, runsc: undefined }, ['runc']],
  ])('does not prove %s', async (_, seen, proven) => {
    expect((await provenOf(seen)).proven).toEqual(proven);
  });
});
