import { describe, expect, it } from 'vitest';
import { createConnections } from '../../../services/api/mcp/connections.ts';
import { callerOfTenant } from '../caller.ts';

const ann = { caller: callerOfTenant('ann'), session: 's1' };
const cancelOf = (requestId: unknown) => ({
  method: 'notifications/cancelled',
  params: { requestId },
});

function begun(id: unknown) {
  const connections = createConnections();
  let cancelled = 0;
  const call = connections.began(ann, { id, method: 'tools/call' }, () => {
    cancelled++;
  });
  return { connections, call, count: () => cancelled };
}

describe('a cancellation', () => {
  it('ends the call that it names', () => {
    const { connections, count } = begun(1);
    connections.heard(ann, cancelOf(1));
    expect(count()).toBe(1);
  });

  it('of another client, key, name or kind of id ends nothing', () => {
    const { connections, count } = begun(1);
    connections.heard({ ...ann, session: 's2' }, cancelOf(1));
    connections.heard({ ...ann, session: undefined }, cancelOf(1));
    connections.heard({ ...ann, caller: callerOfTenant('bob') }, cancelOf(1));
    connections.heard(ann, cancelOf('1'));
    connections.heard(ann, cancelOf(undefined));
    connections.heard(ann, { method: 'notifications/progress', params: { requestId: 1 } });
    expect(count()).toBe(0);
  });

  it('after the answer ends nothing, also not the next call by the same id', () => {
    const { connections, call, count } = begun(1);
    let second = 0;
    const other = connections.began(ann, { id: 1 }, () => {
      second++;
    });
    call.done();
    connections.heard(ann, cancelOf(1));
    expect([count(), second]).toEqual([0, 1]);
    other.done();
    connections.heard(ann, cancelOf(1));
    expect(second).toBe(1);
  });
});
