/**
 * A network of a test's own: a namespace and a cable to it, with addresses that are reserved for tests of networks and
 * exist between the two ends only. The cable can be pulled: what was sent is then lost without an answer.
 */
import { execFile } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { promisify } from 'node:util';

const WITHIN_MS = 10_000;

export interface NetworkNamespace {
  readonly name: string;
  /** This machine, as seen from inside. */
  readonly outside: string;
  /** The namespace, as seen from this machine. */
  readonly inside: string;
  cut(): Promise<void>;
  mend(): Promise<void>;
  /** Also takes the cable away. */
  remove(): Promise<void>;
}

const ip = (...args: string[]): Promise<unknown> =>
  promisify(execFile)('ip', args, { timeout: WITHIN_MS });

export async function createNetworkNamespace(): Promise<NetworkNamespace> {
  // A link's name has 15 characters at most.
  const id = randomBytes(4).toString('hex');
  const name = `cofferdam-${id}`;
  const [cable, end] = [`cfo${id}`, `cfi${id}`];
  // 198.18.0.0/15, RFC 2544
  const net = `198.${randomInt(18, 20)}.${randomInt(256)}`;
  const at = randomInt(64) * 4;
  const [outside, inside] = [`${net}.${at + 1}`, `${net}.${at + 2}`];
  const remove = async (): Promise<void> => {
    await ip('link', 'del', cable).catch(() => {});
    await ip('netns', 'del', name);
  };

  await ip('netns', 'add', name);
  try {
    await ip('link', 'add', cable, 'type', 'veth', 'peer', 'name', end, 'netns', name);
    await ip('addr', 'add', `${outside}/30`, 'dev', cable);
    await ip('link', 'set', cable, 'up');
    await ip('-n', name, 'addr', 'add', `${inside}/30`, 'dev', end);
    await ip('-n', name, 'link', 'set', end, 'up');
    await ip('-n', name, 'link', 'set', 'lo', 'up');
  } catch (error) {
    await remove();
    throw error;
  }
  return {
    name,
    outside,
    inside,
    cut: async () => void (await ip('link', 'set', cable, 'down')),
    mend: async () => void (await ip('link', 'set', cable, 'up')),
    remove,
  };
}
