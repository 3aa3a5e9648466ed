/**
 * The public conformance suite of MCP: `npm run test:conformance`. Each requirement set is run against the endpoint of the
 * product (transport, guard, keys) with the suite's own tools behind it, which no product has; what needs none of those
 * also against a whole server. Which failures are expected, and why, stands line by line in expected-REVISION.yaml: another
 * failure, or an expected one that passes, is a failure. The last line counts: `N passed, N failed`.
 *
 * The suite knows no keys, so that a proxy lends one to each request and changes nothing else.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFixtureServer } from './fixture-server.mjs';
import { runInspector } from './inspect.mjs';
import { runRequirements, runScenario } from './suite.mjs';
import { createTally } from './tally.mjs';

const HERE = import.meta.dirname;
const ROOT = path.resolve(HERE, '../..');
const START_WITHIN_MS = 60_000;

/** Revision → scenarios that ask for nothing by a name of the suite's. */
const SETS = {
  '2026-07-28': [
    'tools-list',
    'resources-list',
    'sep-2164-resource-not-found',
    'dns-rebinding-protection',
    'http-header-validation',
  ],
  '2025-11-25': [
    'server-initialize',
    'ping',
    'tools-list',
    'resources-list',
    'server-sse-multiple-streams',
    'dns-rebinding-protection',
  ],
};

const work = mkdtempSync(path.join(os.tmpdir(), 'cofferdam-conformance-'));

const POLICY = {
  version: '1',
  name: 'conformance',
  default: 'allow',
  rules: [
    {
      name: 'no-network-tools',
      tools: ['exec'],
      when: { path: 'args.command.0', op: 'eq', value: 'curl' },
      action: 'deny',
      reason: 'Sandboxes have no network.',
    },
  ],
};

/** A whole server, told that pages of this origin may call it. */
async function startProduct(origin) {
  const main = path.join(ROOT, 'dist/services/cli/main.js');
  const policy = path.join(work, 'policy.json');
  writeFileSync(policy, JSON.stringify(POLICY));
  const env = {
    ...process.env,
    COFFERDAM_POLICY: policy,
    COFFERDAM_DATA_DIR: work,
    COFFERDAM_PORT: '0',
    COFFERDAM_ALLOWED_ORIGINS: origin,
  };
  const server = spawn(process.execPath, [main, 'serve'], {
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = new Promise((resolve) => server.once('exit', resolve));
  let log = '';
  server.stderr.on('data', (bytes) => {
    log += bytes;
  });
  const stop = () => {
    server.kill('SIGTERM');
    return ended;
  };
  for (const deadline = Date.now() + START_WITHIN_MS; Date.now() < deadline; ) {
    const [, url] = log.match(/"url":"(http:[^"]+)".*"api started"/) ?? [];
    if (url !== undefined)
      return { url, key: readFileSync(path.join(work, 'key'), 'utf8').trim(), stop };
    if (server.exitCode !== null) break;
    await sleep(50);
  }
  await stop();
  throw new Error(`The server did not start:\n${log}`);
}

/** Beside a server: its address is known before the server's is, which has to be told of it. */
async function startProxy() {
  let target;
  const proxy = http.createServer((request, response) => {
    const { method, url, headers } = request;
    const { hostname: host, port } = new URL(target.url);
    const lent = { authorization: `Bearer ${target.key}`, ...headers };
    const onward = http.request({ host, port, method, path: url, headers: lent }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    request.pipe(onward);
  });
  await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  return {
    origin: `http://127.0.0.1:${proxy.address().port}`,
    lead(to) {
      target = to;
    },
    stop() {
      proxy.closeAllConnections();
      proxy.close();
    },
  };
}

async function against(start, run) {
  const proxy = await startProxy();
  const server = await start(proxy.origin);
  proxy.lead(server);
  try {
    await run(proxy.origin, server);
  } finally {
    proxy.stop();
    await server.stop();
  }
}

const tally = createTally();
try {
  await against(startFixtureServer, async (origin) => {
    for (const revision of Object.keys(SETS)) {
      console.log(`\n== ${revision}: what it requires ==`);
      await runRequirements({ origin, revision, work, tally });
    }
  });
  await against(startProduct, async (origin, server) => {
    for (const [revision, scenarios] of Object.entries(SETS)) {
      console.log(`\n== ${revision}: a whole server ==`);
      for (const scenario of scenarios) {
        await runScenario({ origin, revision, scenario, work, tally });
      }
    }
    console.log('\n== the Inspector ==');
    await runInspector({ ...server, work, tally });
  });
} catch (error) {
  console.log(error);
  tally.note('the run', { is: 'failed', why: error.message });
} finally {
  rmSync(work, { recursive: true, force: true });
}
if (!tally.report()) process.exitCode = 1;
