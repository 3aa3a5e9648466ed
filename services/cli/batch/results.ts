/** `cofferdam batch results`: the results of a batch that is there, continued where the file has some. */

import type { Connection } from '../client.ts';
import { keeperOf } from './keeper.ts';
import { collect, collectSoFar, withSession } from './session.ts';

export const showResultsOf = (
  server: Connection,
  id: string,
  { output: target, isFollowing }: { output: string; isFollowing: boolean },
): Promise<number> =>
  withSession(target, async (session) => {
    const fresh = {
      url: server.url,
      idempotencyKey: null,
      uploadDigest: null,
      batch: id,
      refused: 0,
    };
    const keeper = keeperOf(target, fresh, ({ batch }) =>
      batch === id ? undefined : `of ${batch ?? 'a batch whose upload has not ended'}`,
    );
    const output = await session.openOutput();
    keeper.save(keeper.state);
    const { refused } = keeper.state;
    session.onCut = () => [
      target === '-' ? 'The same command again begins anew.' : 'The same command again goes on.',
    ];
    return isFollowing
      ? collect(server, session, { id, output, refused })
      : collectSoFar(server, session, { id, output });
  });
