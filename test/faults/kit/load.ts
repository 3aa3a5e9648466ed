/** Clients that send one thing after another, each once what it sent before has ended or was long enough in coming. */

const WAIT_SECONDS = 4;

export interface Load {
  /** Sends nothing new; resolves when every client is done. Rejects when one of them failed. */
  stop(): Promise<void>;
}

export function keepBusy(clients: number, send: (waitSeconds: number) => Promise<unknown>): Load {
  let isOver = false;
  const one = async (): Promise<void> => {
    while (!isOver) await send(WAIT_SECONDS);
  };
  const all = Promise.all(Array.from({ length: clients }, one));
  all.catch(() => {}); // heard of when it is stopped
  return {
    async stop() {
      isOver = true;
      await all;
    },
  };
}
