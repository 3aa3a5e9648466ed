/** What one client, or one tenant, may hold of this server before it has said anything that counts, each with what it stops. */
export const HTTP_LIMITS = {
  /** Slow heads; also a connection that says nothing at all. */
  headersTimeoutMs: 10_000,
  /** Slow bodies. Those that stream may last, but not pause for so long (ndjson.ts). */
  bodyTimeoutMs: 30_000,
  /** Connections kept for nothing. Longer than a load balancer keeps its own, or it would meet closed ones. */
  keepAliveMs: 65_000,
  /** How late a limit on time may be noticed. */
  checkConnectionsMs: 5_000,
  /** Endless heads. Of the body COFFERDAM_MAX_BODY_BYTES is the limit. */
  maxHeaderBytes: 8_192,
  /** Open files: past it a connection is closed as it comes. One tenant holds COFFERDAM_MAX_TENANT_REQUESTS at most. */
  maxConnections: 10_000,
  /** Requests sent over one connection before those ahead of them are answered: large answers that nobody reads. */
  maxPipelined: 8,
  /** Text that the router would search for its parameters. */
  maxParamLength: 3_072,
} as const;
