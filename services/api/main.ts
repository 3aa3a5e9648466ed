/** The API's story: Redis, then what answers requests from it, then the socket; stopped in reverse. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import type { Redis } from 'ioredis';
import { readTenants } from '../../shared/config/tenants.ts';
import { type Catalogue, packageRoot, readCatalogue } from '../../shared/images.ts';
import type { Metrics } from '../../shared/metrics.ts';
import { loadAdmission } from '../../shared/queue/admit.ts';
import { requireUsableRedis } from '../../shared/queue/check.ts';
import { connectRedis, waitUntilReady } from '../../shared/queue/connection.ts';
import { newJobId } from './admit.ts';
import { createApiKeys } from './api-keys.ts';
import type { ApiParts } from './api-parts.ts';
import { type Authenticate, createAuthenticate } from './auth.ts';
import { createBatchResults } from './batch-results.ts';
import { createBatches } from './batches.ts';
import { startCallbacks } from './callbacks/start.ts';
import { serverUrl } from './config.ts';
import { createDeparture } from './departure.ts';
import { createJobs } from './jobs.ts';
import { mcpRoutes } from './mcp/endpoint.ts';
import type { McpParts } from './mcp/parts.ts';
import type { Policy } from './policy/engine.ts';
import { resolve } from './policy/resolve.ts';
import { createResults, type Results } from './results.ts';
import { approvalRoutes } from './routes/approvals.ts';
import { artifactRoutes } from './routes/artifacts.ts';
import { auditRoutes } from './routes/audit.ts';
import { batchRoutes } from './routes/batches.ts';
import { blobRoutes } from './routes/blobs.ts';
import { callbackRoutes } from './routes/callbacks.ts';
import { eventRoutes } from './routes/events.ts';
import { healthRoutes } from './routes/health.ts';
import { infoRoutes, readInfo } from './routes/info.ts';
import { jobRoutes } from './routes/jobs.ts';
import { keyRoutes } from './routes/keys.ts';
import { policyRoutes } from './routes/policy.ts';
import type { Server } from './routes/server-types.ts';
import { tenantRoutes } from './routes/tenants.ts';
import { buildServer } from './server.ts';
import { createEventStreams, type EventStreams } from './sse.ts';
import { createTenants } from './tenants.ts';
import { startWork } from './work.ts';

const SUBSCRIBED_WITHIN_MS = 5_000;

export async function startApi(parts: ApiParts): Promise<{ url: string }> {
  const { settings, lifecycle, metrics, log } = parts;
  const catalogue = readCatalogue(settings.imagesFile);
  if (!catalogue.has(settings.defaultImage)) {
    throw new Error(`COFFERDAM_DEFAULT_IMAGE: there is no image ${settings.defaultImage}.`);
  }
  const departure = createDeparture(settings.stopNoticeMs);
  const { redis, subscriber, check } = await openStore(parts);
  const { tenants, apiKeys, authenticate } = await startAccess(parts, redis);
  const { results, instance } = await startResults(parts, { redis, subscriber });
  const callbacks = startCallbacks({ ...parts, trust: settings.trust }, redis);
  const work = await startWork(parts, { redis, catalogue, tenants, callbacks });
  const { policy, onAct, approvals, store, resolveWith, seal } = work.governance;
  const jobs = createJobs({ redis, results, entrance: work.entrance });
  const { signal } = departure;
  const batches = createBatches({ redis, canceller: work.canceller, closing: signal, log });
  const batchResults = createBatchResults({ redis, batches, closing: signal });

  const { maxBodyBytes, maxTenantRequests } = settings;
  const version = packageVersion();
  const streams = openStreams(metrics);
  const server = await buildServer({
    maxBodyBytes,
    maxTenantRequests,
    authenticate,
    decide: policy.decide,
    metrics,
    version,
    log,
    addRoutes(scope) {
      jobRoutes(scope, { admit: work.admit, jobs, results, instance });
      eventRoutes(scope, { redis, streams, batches, results: batchResults, log });
      artifactRoutes(scope, { jobs });
      batchRoutes(scope, { ...work, batches, results: batchResults, maxLineBytes: maxBodyBytes });
      callbackRoutes(scope, { redis, signer: callbacks.signer, onAct });
      policyRoutes(scope, { policy, store, resolveWith, onAct });
      approvalRoutes(scope, { approvals });
      auditRoutes(scope, { redis, seal, closing: signal });
      blobRoutes(scope, { blobs: work.blobs, maxBlobBytes: settings.blobs.maxBytes });
      keyRoutes(scope, { apiKeys, onAct });
      tenantRoutes(scope, { tenants, onAct });
      infoRoutes(scope, { redis, settings, catalogue, version });
      healthRoutes(scope, { redis, check, metrics, departure, policyProblems: store.problems });
      const { admit, upload } = work;
      const tools = { redis, admit, upload, jobs, batches, batchResults, results, instance };
      mountMcp(scope, parts, { ...tools, policy, authenticate, catalogue, version });
    },
  });
  lifecycle.own('http', server, async () => {
    await departure.begin();
    results.release();
    streams.release();
    return server.close();
  });
  await server.listen({ host: settings.host, port: settings.port });
  const { port } = server.server.address() as AddressInfo;
  const url = serverUrl(settings.host, port);
  log.info({ url, redis: check.version, durability: check.durability }, 'api started');
  return { url };
}

/** The tools of MCP over the same functions as the routes. */
function mountMcp(
  scope: Server,
  { settings, log }: ApiParts,
  made: Pick<
    McpParts,
    | 'redis'
    | 'admit'
    | 'upload'
    | 'jobs'
    | 'batches'
    | 'batchResults'
    | 'results'
    | 'instance'
    | 'version'
  > & { authenticate: Authenticate; catalogue: Catalogue; policy: Policy },
): void {
  const { authenticate, catalogue, policy, ...parts } = made;
  const { redis, version } = made;
  const { limits, defaultImage, runtimes, host, trust } = settings;
  const rules = { limits, defaultImage, runtimes, catalogue };
  const governed: Pick<McpParts, 'decide' | 'check' | 'isHidden'> = {
    decide: policy.decide,
    isHidden: policy.isHidden,
    check: (asked) =>
      policy.check({ ...asked, jobId: newJobId() }, (request) => resolve(request, rules)),
  };
  mcpRoutes(
    scope,
    { ...parts, ...governed, log, info: () => readInfo({ redis, settings, catalogue, version }) },
    { ...trust, listensOn: host, authenticate },
  );
}

/** Who may call, and as whom. */
async function startAccess({ settings, key, lifecycle, log }: ApiParts, redis: Redis) {
  const maxOpenJobs = settings.maxTenantOpenJobs;
  const fixed = readTenants(settings.tenantsFile, maxOpenJobs);
  const tenants = createTenants({ redis, fixed, maxOpenJobs, log });
  await tenants.start();
  lifecycle.own('tenants', tenants, () => tenants.stop());
  const apiKeys = createApiKeys({ redis, tenants, log });
  return { tenants, apiKeys, authenticate: createAuthenticate({ key, tenants: fixed, apiKeys }) };
}

function openStreams(metrics: Metrics): EventStreams {
  const streams = createEventStreams();
  metrics.gauge('event_streams', 'Event streams open.', [], (set) => set(streams.count()));
  return streams;
}

async function startResults(
  { lifecycle, log }: ApiParts,
  store: { redis: Redis; subscriber: Redis },
): Promise<{ results: Results; instance: string }> {
  const instance = randomBytes(8).toString('hex');
  const results = createResults({ ...store, instance, log });
  await results.start();
  lifecycle.own('results', results, () => results.stop());
  return { results, instance };
}

async function openStore({ redis: address, lifecycle, log }: ApiParts) {
  const redis = connectRedis(address, 'request', log);
  lifecycle.own('api redis', redis, () => redis.disconnect());
  const check = await requireUsableRedis(redis);
  await loadAdmission(redis);
  redis.on('ready', () => void loadAdmission(redis).catch(() => {}));
  const subscriber = connectRedis(address, 'patient', log);
  lifecycle.own('api subscriber', subscriber, () => subscriber.disconnect());
  // A subscription that goes out while the connection is being checked is lost with the check.
  await waitUntilReady(subscriber, SUBSCRIBED_WITHIN_MS);
  return { redis, subscriber, check };
}

const packageVersion = (): string =>
  (JSON.parse(readFileSync(path.join(packageRoot, 'package.json'), 'utf8')) as { version: string })
    .version;
