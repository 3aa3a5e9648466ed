/**
 * One uid for each living sandbox. Process counts, pending signals and pipe buffers are bounded per uid of the host's
 * user namespace, so that two sandboxes of one uid could starve each other. A uid is free again only once its sandbox
 * is confirmed to be gone.
 */

const FIRST_UID = 200_000;
const BLOCK_SIZE = 1024;
const BLOCKS = 4096;

export interface Uids {
  /** Throws when every uid of the block is in use. */
  take(): number;
  /** Throws for a uid that is not taken: releasing twice would hand one uid to two sandboxes. */
  release(uid: number): void;
}

/** A block of uids that none of these is in; workers on one engine keep out of each other's blocks. */
export function chooseUidBlock(
  taken: readonly number[],
  random: () => number = Math.random,
): number {
  const used = new Set(taken.map((uid) => Math.floor((uid - FIRST_UID) / BLOCK_SIZE)));
  const start = Math.floor(random() * BLOCKS);
  for (let at = 0; at < BLOCKS; at++) {
    const block = (start + at) % BLOCKS;
    if (!used.has(block)) return FIRST_UID + block * BLOCK_SIZE;
  }
  throw new Error(`All ${BLOCKS} blocks of uids are in use on this engine.`);
}

export function createUids(first: number): Uids {
  const free = Array.from({ length: BLOCK_SIZE }, (_, index) => first + index);
  const taken = new Set<number>();
  return {
    take() {
      const uid = free.shift();
      if (uid === undefined) throw new Error(`All ${BLOCK_SIZE} uids of this worker are in use.`);
      taken.add(uid);
      return uid;
    },
    release(uid) {
      if (!taken.delete(uid)) throw new Error(`The uid ${uid} was released but is not taken.`);
      free.push(uid);
    },
  };
}
