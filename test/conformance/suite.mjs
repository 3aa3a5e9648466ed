/** Runs the suite's scenarios against a server and judges by the results it leaves, one file a scenario. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import { NODE_22 } from './node-22.mjs';
import { judge, judgeSet } from './tally.mjs';

const HERE = import.meta.dirname;
const SUITE = path.join(HERE, 'node_modules/@modelcontextprotocol/conformance');
const SUITE_WITHIN_MS = 180_000;

/** All that a revision asks for, scored or not. */
export async function runRequirements({ origin, revision, work, tally }) {
  const expectedFile = path.join(HERE, `expected-${revision}.yaml`);
  const required = read(path.join(SUITE, `requirements/${revision}.yaml`));
  const expected = read(expectedFile);
  const more = required.not_scored.filter(({ leg }) => leg === 'server');
  const asked = [...required.server, ...more.map(({ scenario }) => scenario)];
  const listed = new Set([...expected.server, ...(expected.not_scored ?? [])]);
  const args = ['--requirements', revision, '--expected-failures', expectedFile];
  const results = await run({ origin, args, work });
  judgeSet({
    asked,
    listed,
    results,
    note: (name, verdict) => tally.note(`${revision} ${name}`, verdict),
  });
}

export async function runScenario({ origin, revision, scenario, work, tally }) {
  const args = ['--scenario', scenario, '--spec-version', revision];
  const results = await run({ origin, args, work });
  const verdict = judge({ checks: results.get(scenario), isListed: false });
  tally.note(`${revision} ${scenario}, a whole server`, verdict);
}

const read = (file) => parse(readFileSync(file, 'utf8'));

/** Scenario → its checks. */
async function run({ origin, args, work }) {
  const folder = mkdtempSync(path.join(work, 'results-'));
  const all = [`${SUITE}/dist/index.js`, 'server', '--url', `${origin}/mcp`, '-o', folder, ...args];
  const suite = spawn(NODE_22, all, { cwd: work, stdio: 'inherit', timeout: SUITE_WITHIN_MS });
  await new Promise((resolve) => suite.once('close', resolve));
  const results = new Map();
  for (const name of readdirSync(folder)) {
    // server-SCENARIO-TIME
    const [, scenario] = name.match(/^server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z$/) ?? [];
    results.set(scenario, checksIn(path.join(folder, name, 'checks.json')));
  }
  return results;
}

/** Nothing, where the scenario did not come to its end. */
function checksIn(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}
