/**
 * What a client of the older revisions cancels: it sends `notifications/cancelled` as a request of its own, which nothing
 * ties to the call but the id of the call and of the client. So `initialize` gives each client a name, and calls under
 * way are known by it; nothing else is kept of a client, and a name that was never given cancels nothing. Clients of the
 * revision of 2026 close the connection of the call instead.
 */
import { randomBytes } from 'node:crypto';
import type { Caller } from '../auth.ts';

export const SESSION_HEADER = 'mcp-session-id';

interface Message {
  readonly method?: unknown;
  readonly id?: unknown;
  readonly params?: { readonly requestId?: unknown } | null;
}

export interface Connections {
  /** Call `done` when the call has been answered. */
  began(client: Client, message: Message, cancel: () => void): { done(): void };
  /** Ends the call that a notification names, if it is one. */
  heard(client: Client, message: Message): void;
}

interface Client {
  readonly caller: Caller;
  /** The header, as it came. */
  readonly session: string | undefined;
}

export const newSessionId = (): string => randomBytes(16).toString('hex');

export const isInitialize = ({ method }: Message): boolean => method === 'initialize';

const NOTHING_TO_DO = { done: (): void => {} };

export function createConnections(): Connections {
  const calls = new Map<string, () => void>();
  // The type of an id counts: 1 and "1" are two.
  const nameOf = ({ caller, session }: Client, id: unknown): string =>
    JSON.stringify([caller.grant, session, id]);
  return {
    began(client, { id }, cancel) {
      if (client.session === undefined || id === undefined) return NOTHING_TO_DO;
      const name = nameOf(client, id);
      calls.set(name, cancel);
      return {
        done() {
          if (calls.get(name) === cancel) calls.delete(name);
        },
      };
    },
    heard(client, { method, params }) {
      if (method !== 'notifications/cancelled' || client.session === undefined) return;
      calls.get(nameOf(client, params?.requestId))?.();
    },
  };
}
