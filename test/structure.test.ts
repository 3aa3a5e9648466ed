import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parseAst } from 'vite';
import { describe, expect, it } from 'vitest';

const ROOT = path.resolve(import.meta.dirname, '..');
const MAX_FILE_LINES = 250;
const MAX_FUNCTION_LINES = 60;
const MAX_ENTRY_LINES = 60;

const listed = (...paths: string[]): string[] =>
  execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', ...paths], {
    cwd: ROOT,
    encoding: 'utf8',
  })
    .split('\n')
    .filter((file) => file !== '');

interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [key: string]: unknown;
}

interface Source {
  readonly file: string;
  readonly text: string;
  /** Files of this project that it imports, types included, and packages. */
  readonly imports: readonly string[];
  readonly functions: readonly { readonly name: string; readonly lines: number }[];
}

const isNode = (value: unknown): value is Node =>
  typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string';

function walk(node: Node, visit: (node: Node, parent: Node | undefined) => void): void {
  const step = (one: Node, parent: Node | undefined): void => {
    visit(one, parent);
    for (const value of Object.values(one)) {
      for (const child of Array.isArray(value) ? value : [value])
        if (isNode(child)) step(child, one);
    }
  };
  step(node, undefined);
}

const FUNCTIONS = ['FunctionDeclaration', 'FunctionExpression', 'ArrowFunctionExpression'];
const linesIn = (text: string): number => text.split('\n').length;

const nameOf = (node: Node, parent: Node | undefined): string => {
  for (const one of [node.id, parent?.id, parent?.key]) {
    if (isNode(one) && typeof one.name === 'string') return one.name;
  }
  return 'a function without a name';
};

function readSource(file: string): Source {
  const text = readFileSync(path.join(ROOT, file), 'utf8');
  const imports: string[] = [];
  const functions: { name: string; lines: number }[] = [];
  walk(parseAst(text, { lang: 'ts' }) as unknown as Node, (node, parent) => {
    const { source } = node;
    if (isNode(source) && typeof source.value === 'string') {
      const to = source.value.startsWith('.')
        ? path.join(path.dirname(file), source.value)
        : source.value;
      imports.push(to);
    }
    if (FUNCTIONS.includes(node.type)) {
      const lines = linesIn(text.slice(node.start, node.end));
      functions.push({ name: nameOf(node, parent), lines });
    }
  });
  return { file, text, imports: [...new Set(imports)], functions };
}

const sources = listed('services', 'shared')
  .filter((file) => file.endsWith('.ts'))
  .map(readSource);
const importersOf = (name: string): string[] =>
  sources.filter(({ imports }) => imports.includes(name)).map(({ file }) => file);
const filesWith = (pattern: RegExp): string[] =>
  sources.filter(({ text }) => pattern.test(text)).map(({ file }) => file);

describe('the layers', () => {
  const wrongImports = (from: RegExp, to: RegExp): string[] =>
    sources
      .filter(({ file }) => from.test(file))
      .flatMap(({ file, imports }) =>
        imports.filter((one) => to.test(one)).map((one) => `${file} → ${one}`),
      );

  it('are read from every file of the product', () => {
    expect(sources.length).toBeGreaterThan(50);
    expect(sources.find(({ file }) => file === 'services/worker/main.ts')?.imports).toContain(
      'services/worker/consumer.ts',
    );
  });

  it('have shared at their bottom: it imports nothing of services', () => {
    expect(wrongImports(/^shared\//, /^services\//)).toEqual([]);
  });

  it('keep API and worker apart', () => {
    expect(wrongImports(/^services\/api\//, /^services\/(worker|cli)\//)).toEqual([]);
    expect(wrongImports(/^services\/worker\//, /^services\/(api|cli)\//)).toEqual([]);
  });

  it('import from the project’s own folders and from packages alone', () => {
    expect(wrongImports(/./, /^(test|bench|dist|build|\.\.)(\/|$)/)).toEqual([]);
  });

  /** From the shallowest to the deepest stage of a job's life; a file imports of its own stage and of deeper ones. */
  const STAGES: Readonly<Record<string, readonly RegExp[]>> = {
    worker: [
      /^main\.ts$/,
      /^watchdog\.ts$|^supply\.ts$/,
      /^consumer\.ts$|^presence\.ts$|^slots\.ts$/,
      /^attempts\.ts$/,
      /^settle\.ts$|^permit\.ts$|^hand-back\.ts$/,
      /^result\.ts$|^redact\.ts$|^genuine\.ts$/,
      /^run-job\.ts$/,
      /^config\.ts$|^metrics\.ts$/,
      /^live\.ts$/,
      /^canary\.ts$/,
      /^execution\.ts$|^outcome\.ts$/,
      /^pool\//,
      /^capture\.ts$|^deadline\.ts$|^blob-cache\.ts$/,
      /^sandbox\//,
      /^protocol\//,
    ],
    api: [
      /^main\.ts$/,
      /^server\.ts$/,
      /^mcp\//,
      /^routes\//,
      /^events\//,
      /^work\.ts$/,
      /^batch-\w+\.ts$|^batches\.ts$/,
      /^jobs\.ts$|^sweeper\.ts$|^admit\.ts$|^turns\.ts$|^governance\.ts$/,
      /^permission\.ts$/,
      /^approvals\//,
      /^callbacks\//,
      /^results\.ts$|^blobs\.ts$|^canceller\.ts$|^pressure\.ts$|^departure\.ts$|^runtimes\.ts$/,
      /^policy\//,
      /^audit\.ts$/,
      /^audit-\w+\.ts$/,
      /^api-keys\.ts$|^tenants\.ts$/,
      /^auth\.ts$|^config\.ts$|^api-parts\.ts$|^http-error\.ts$|^sse\.ts$|^ndjson\.ts$/,
      /^json-depth\.ts$|^key-watch\.ts$|^held-requests\.ts$|^http-limits\.ts$|^plain-requests\.ts$/,
    ],
  };
  /** What a deeper stage may know of a shallower one, and why. */
  const EXCEPTIONS = [
    // The shape of the routes' server is a type that the server is built as.
    'services/api/server.ts → services/api/routes/server-types.ts',
  ];

  it.each(Object.entries(STAGES))('of services/%s go one way', (service, stages) => {
    const folder = `services/${service}/`;
    const stageOf = (file: string): number =>
      stages.findIndex((stage) => stage.test(file.slice(folder.length)));
    const own = sources.filter(({ file }) => file.startsWith(folder));
    expect(own.map(({ file }) => file).filter((file) => stageOf(file) < 0)).toEqual([]);
    const upwards = own.flatMap(({ file, imports }) =>
      imports
        .filter((one) => one.startsWith(folder) && stageOf(one) < stageOf(file))
        .map((one) => `${file} → ${one}`),
    );
    expect(upwards.filter((one) => !EXCEPTIONS.includes(one))).toEqual([]);
  });

  it('have no cycle', () => {
    const importsOf = new Map(sources.map(({ file, imports }) => [file, imports]));
    const done = new Set<string>();
    const cycles: string[] = [];
    const follow = (file: string, way: readonly string[]): void => {
      if (way.includes(file)) cycles.push([...way.slice(way.indexOf(file)), file].join(' → '));
      if (way.includes(file) || done.has(file)) return;
      for (const one of importsOf.get(file) ?? []) follow(one, [...way, file]);
      done.add(file);
    };
    for (const { file } of sources) follow(file, []);
    expect(cycles).toEqual([]);
  });
});

/** A factory is a class by another name, and a table of routes a list: what is measured is each function in it. */
const FACTORY =
  /^(create(Admit|Permission|Approvals|Audit|AuditWriter|Verification|BatchResults|Batches|BlobCache|Canary|Supply|Canceller|Deliveries|Entrance|Pressure|Policy|PolicyStore|Blobs|Jobs|Results|Gathering|Sweep|Sweeper|Consumer)|createTenants|keyRoutes|tenantRoutes|jobRoutes|batchRoutes|callbackRoutes|eventRoutes|dockerImages)$/;
/** A list in which each line is one wall; in two halves nobody would see that it is whole. */
const LIST = /^createBody$/;
const isMeasuredByParts = (name: string): boolean => FACTORY.test(name) || LIST.test(name);

describe('the files', () => {
  it(`have at most ${MAX_FILE_LINES} lines`, () => {
    const long = sources
      .map(({ file, text }) => ({ file, lines: linesIn(text.trimEnd()) }))
      .filter(({ lines }) => lines > MAX_FILE_LINES);
    expect(long).toEqual([]);
  });

  it(`have functions of at most ${MAX_FUNCTION_LINES} lines`, () => {
    const long = sources.flatMap(({ file, functions }) =>
      functions
        .filter(({ name, lines }) => lines > MAX_FUNCTION_LINES && !isMeasuredByParts(name))
        .map(({ name, lines }) => `${file}: ${name}, ${lines} lines`),
    );
    expect(long).toEqual([]);
  });

  it('are named in kebab-case for what they hold, and none is a bag of this and that', () => {
    const names = sources.map(({ file }) => path.basename(file, '.ts'));
    expect(names.filter((name) => !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name))).toEqual([]);
    const bags = /^(utils?|helpers?|common|misc|types|lib|stuff|shared)$/;
    expect(sources.filter(({ file }) => bags.test(path.basename(file, '.ts')))).toEqual([]);
    const folders = new Set(sources.flatMap(({ file }) => path.dirname(file).split('/').slice(1)));
    expect([...folders].filter((folder) => bags.test(folder))).toEqual([]);
  });

  it('say at their head what they are for', () => {
    const silent = sources.filter(({ text }) => !/^(#!.*\n)?\/\*\*/.test(text));
    expect(silent.map(({ file }) => file)).toEqual([]);
  });

  it('hold no leftovers: no TODO, no commented-out code, no switch for tests', () => {
    expect(filesWith(/\b(TODO|FIXME|XXX|HACK)\b/)).toEqual([]);
    expect(filesWith(/^\s*\/\/ (const|let|return|await|import|if \()/m)).toEqual([]);
    expect(filesWith(/NODE_ENV|VITEST|__test/)).toEqual([]);
    expect(filesWith(/@ts-ignore|@ts-expect-error/)).toEqual([]);
  });
});

describe('the choke points', () => {
  const only = (files: string[], allowed: string[]): void => {
    expect(files.filter((file) => !allowed.includes(file))).toEqual([]);
  };

  it('have dockerode in one file', () => {
    expect(importersOf('dockerode')).toEqual(['services/worker/sandbox/docker.ts']);
  });

  it('have the queue’s library where the ends of the queue are', () => {
    only(importersOf('bullmq'), ['shared/queue/entrance.ts', 'services/worker/consumer.ts']);
  });

  it('read the environment in one entry point', () => {
    only(filesWith(/process\.env/), ['services/cli/main.ts']);
  });

  it('end the process in two places', () => {
    only(filesWith(/process\.exit\b/), ['services/cli/main.ts', 'shared/lifecycle.ts']);
  });

  it('run commands of the host nowhere but for the embedded Redis', () => {
    only(importersOf('node:child_process'), ['services/cli/embedded-redis.ts']);
  });

  it('open connections to Redis in one file', () => {
    expect(filesWith(/new (Redis|Cluster)\(/)).toEqual(['shared/queue/connection.ts']);
  });

  it('throw nothing without a code where a request is answered', () => {
    const routes = sources.filter(({ file }) => file.startsWith('services/api/routes/'));
    expect(routes.filter(({ text }) => text.includes('throw new Error'))).toEqual([]);
  });
});

describe('the entry points', () => {
  it.each(['services/api/main.ts', 'services/worker/main.ts'])(
    '%s tells its story in one function that fits a page',
    (file) => {
      const source = sources.find((one) => one.file === file);
      const lines = source?.functions.map((one) => one.lines) ?? [];
      expect(Math.max(...lines)).toBeLessThanOrEqual(MAX_ENTRY_LINES);
    },
  );

  it('of a job’s life fits a page: run-job.ts', () => {
    const story = sources.find(({ file }) => file === 'services/worker/run-job.ts');
    expect(linesIn(story?.text ?? '')).toBeLessThanOrEqual(MAX_ENTRY_LINES);
  });
});

describe('the tests', () => {
  it('mirror the tree: each test of a module is where its module is', () => {
    const modules = new Set(sources.map(({ file }) => file.replace(/^services\//, '')));
    const orphans = listed('test/api', 'test/cli', 'test/shared', 'test/worker')
      .filter((file) => file.endsWith('.test.ts') && !file.startsWith('test/worker/guest/'))
      .map((file) => file.replace(/^test\//, '').replace(/\.test\.ts$/, ''))
      .filter((name) => !modules.has(`${name}.ts`));
    // Several modules in one state machine, one module from two sides, and the pool over the real engine.
    expect(orphans.sort()).toEqual([
      'api/sweeper-batches',
      'shared/queue/approval-interleaving',
      'shared/queue/batch-interleaving',
      'shared/queue/fair-share-model',
      'shared/queue/interleaving',
      'shared/queue/parked',
      'shared/queue/records',
      'shared/queue/reserve-model',
      'worker/pool/pool-demand',
      'worker/pool/pool-end',
      'worker/pool/real-engine',
      'worker/protocol/reset',
      'worker/protocol/stdin',
    ]);
  });
});
