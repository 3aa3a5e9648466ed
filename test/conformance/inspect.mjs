/** The Inspector's command line against a whole server: exec, a denied exec, an unknown tool, a bad token. */
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { NODE_22 } from './node-22.mjs';

const HERE = path.join(import.meta.dirname, 'inspector/node_modules');
const INSPECTOR = path.join(
  HERE,
  '@modelcontextprotocol/inspector/clients/launcher/build/index.js',
);
const WITHIN_MS = 60_000;

/** What it says, errors included. */
function inspect({ url, key, work }, args) {
  const config = path.join(work, 'inspector.json');
  const server = {
    type: 'streamable-http',
    url: `${url}/mcp`,
    headers: { Authorization: `Bearer ${key}` },
  };
  writeFileSync(config, JSON.stringify({ mcpServers: { cofferdam: server } }));
  const all = [INSPECTOR, '--cli', '--config', config, '--server', 'cofferdam', ...args];
  const env = { ...process.env, MCP_INSPECTOR_SECRET_STORE: 'memory' };
  return new Promise((resolve) => {
    execFile(NODE_22, all, { cwd: work, timeout: WITHIN_MS, env }, (error, stdout, stderr) =>
      resolve({ code: error?.code ?? 0, said: stdout + stderr }),
    );
  });
}

const call = (tool, command) => [
  ...['--method', 'tools/call', '--tool-name', tool],
  ...['--tool-arg', `command=${JSON.stringify(command)}`],
];

/** Every line: what is asked for, by whom, and what has to be in the answer. */
const ASKED = [
  ['lists the tools', ['--method', 'tools/list'], undefined, /"sandbox_info"/],
  ['runs a command', call('exec', ['echo', 'seen']), undefined, /seen\\n/],
  ['is denied by the policy', call('exec', ['curl', 'x']), undefined, /POLICY_DENIED.*no-network/],
  ['calls no unknown tool', call('nope', ['x']), undefined, /nope/],
  ['is not let in with a bad token', ['--method', 'tools/list'], 'x'.repeat(40), /auth_required/],
];

export async function runInspector(server) {
  for (const [name, args, key = server.key, expected] of ASKED) {
    const { code, said } = await inspect({ ...server, key }, args);
    const isAsExpected = expected.test(said);
    const why = `exit ${code}`;
    console.log(`${isAsExpected ? 'ok' : 'NOT OK'}: the Inspector ${name} (${why})`);
    server.tally.note(`the Inspector ${name}`, { is: isAsExpected ? 'passed' : 'failed', why });
    if (!isAsExpected) console.log(said.slice(0, 4000));
  }
}
