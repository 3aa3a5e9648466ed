/**
 * `cofferdam mcp`: MCP on stdin and stdout, for clients that start their servers themselves. Each message goes to the
 * /mcp of a server, whose tools these are: a remote one, or one that is started here and ends with the client.
 */
import { type Connection, connectionFrom } from './client.ts';
import { bridge } from './mcp-bridge.ts';
import { withServer } from './processes.ts';

type Env = Readonly<Record<string, string | undefined>>;

/** Ends when the client closes its end of stdin. */
export function runMcp(env: Env): Promise<void> {
  const serve = (server: Connection): Promise<void> =>
    bridge({ server, input: process.stdin, output: process.stdout });
  if (env.COFFERDAM_URL !== undefined) return serve(connectionFrom(env));
  // On any free port: several clients may each start one, with a data folder of its own.
  return withServer({ ...env, COFFERDAM_PORT: env.COFFERDAM_PORT ?? '0' }, serve);
}
