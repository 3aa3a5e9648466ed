/** What the conformance suite wants to find on a server: tools, resources and prompts by its names. No product has them. */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  completable,
  fromJsonSchema,
  inputRequired,
  McpServer,
  ResourceTemplate,
} from '@modelcontextprotocol/server';
import { z } from 'zod';
import {
  addAskingTools,
  addRounds,
  answerTo,
  ask,
  states,
  text,
  user,
} from './asking-fixtures.mjs';

const PNG =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==';
const WAV = 'UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=';
const PAUSE_MS = 50;

const image = { type: 'image', data: PNG, mimeType: 'image/png' };

export function createFixtures() {
  const server = new McpServer(
    { name: 'cofferdam-conformance', version: '1' },
    {
      capabilities: {
        logging: {},
        completions: {},
        // These lists never change.
        tools: { listChanged: false },
        prompts: { listChanged: false },
        resources: { listChanged: false },
      },
      requestState: { verify: states.verify },
    },
  );
  addTools(server);
  addAskingTools(server);
  addRounds(server);
  addSchemas(server);
  addResources(server);
  addPrompts(server);
  return server;
}

function addTools(server) {
  const tool = (name, run, more = {}) =>
    server.registerTool(name, { description: name, ...more }, run);
  tool('test_simple_text', () => ({
    content: [text('This is a simple text response for testing.')],
  }));
  tool('test_image_content', () => ({ content: [image] }));
  tool('test_audio_content', () => ({
    content: [{ type: 'audio', data: WAV, mimeType: 'audio/wav' }],
  }));
  const embedded = (uri, mimeType, words) => ({
    type: 'resource',
    resource: { uri, mimeType, text: words },
  });
  tool('test_embedded_resource', () => ({
    content: [
      embedded('test://embedded-resource', 'text/plain', 'This is an embedded resource content.'),
    ],
  }));
  tool('test_multiple_content_types', () => ({
    content: [
      text('Multiple content types test:'),
      image,
      embedded('test://mixed-content-resource', 'application/json', '{"test":"data","value":123}'),
    ],
  }));
  tool('test_error_handling', () => {
    throw new Error('This tool intentionally returns an error for testing');
  });
  tool('test_tool_with_logging', async ({ mcpReq }) => {
    for (const said of [
      'Tool execution started',
      'Tool processing data',
      'Tool execution completed',
    ]) {
      await mcpReq.log('info', said);
      await sleep(PAUSE_MS);
    }
    return { content: [text('done')] };
  });
  tool('test_tool_with_progress', async ({ mcpReq }) => {
    const progressToken = mcpReq._meta?.progressToken;
    for (const progress of [0, 50, 100]) {
      if (progressToken !== undefined) {
        const params = { progressToken, progress, total: 100 };
        await mcpReq.notify({ method: 'notifications/progress', params });
      }
      await sleep(PAUSE_MS);
    }
    return { content: [text('done')] };
  });
}

/** A schema of many words, which has to be listed as it is, and one whose argument also stands in a header. */
function addSchemas(server) {
  const words = { type: 'string' };
  const tool = (name, schema, run) =>
    server.registerTool(name, { description: name, inputSchema: fromJsonSchema(schema) }, run);
  tool(
    'json_schema_2020_12_tool',
    {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      type: 'object',
      $defs: {
        address: {
          $anchor: 'addressDef',
          type: 'object',
          properties: { street: words, city: words },
        },
      },
      properties: {
        name: words,
        address: { $ref: '#/$defs/address' },
        contactMethod: { type: 'string', enum: ['phone', 'email'] },
        phone: words,
        email: words,
      },
      allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
      if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
      // biome-ignore lint/suspicious/noThenProperty: a word of JSON Schema
      then: { required: ['phone'] },
      else: { required: ['email'] },
      additionalProperties: false,
    },
    () => ({ content: [text('done')] }),
  );
  tool(
    'test_custom_headers',
    { type: 'object', properties: { region: { ...words, 'x-mcp-header': 'Region' } } },
    () => ({ content: [text('done')] }),
  );
}

function addResources(server) {
  const describe = (mimeType) => ({ description: 'of the conformance suite', mimeType });
  server.registerResource(
    'static-text',
    'test://static-text',
    describe('text/plain'),
    ({ href }) => ({
      contents: [
        {
          uri: href,
          mimeType: 'text/plain',
          text: 'This is the content of the static text resource.',
        },
      ],
    }),
  );
  server.registerResource(
    'static-binary',
    'test://static-binary',
    describe('image/png'),
    ({ href }) => ({ contents: [{ uri: href, mimeType: 'image/png', blob: PNG }] }),
  );
  server.registerResource(
    'template',
    new ResourceTemplate('test://template/{id}/data', { list: undefined }),
    describe('application/json'),
    ({ href }, { id }) => ({
      contents: [
        {
          uri: href,
          mimeType: 'application/json',
          text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` }),
        },
      ],
    }),
  );
}

function addPrompts(server) {
  const prompt = (name, argsSchema, run) =>
    server.registerPrompt(
      name,
      { description: name, ...(argsSchema === undefined ? {} : { argsSchema }) },
      run,
    );
  prompt('test_simple_prompt', undefined, () => ({
    messages: [user(text('This is a simple prompt for testing.'))],
  }));
  const word = (start) =>
    completable(z.string(), (typed) => [start].filter((one) => one.startsWith(typed)));
  prompt(
    'test_prompt_with_arguments',
    z.object({ arg1: word('paris'), arg2: word('world') }),
    ({ arg1, arg2 }) => ({
      messages: [user(text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`))],
    }),
  );
  prompt(
    'test_prompt_with_embedded_resource',
    z.object({ resourceUri: z.string() }),
    ({ resourceUri: uri }) => ({
      messages: [
        user({
          type: 'resource',
          resource: { uri, mimeType: 'text/plain', text: 'Embedded resource content for testing.' },
        }),
        user(text('Please process the embedded resource above.')),
      ],
    }),
  );
  prompt('test_prompt_with_image', undefined, () => ({
    messages: [user(image), user(text('Please analyze the image above.'))],
  }));
  prompt('test_input_required_result_prompt', undefined, (context) => {
    const given = answerTo(context, 'user_context');
    if (given !== undefined) return { messages: [user(text(String(given.content?.context)))] };
    const wanted = ask('What context should the prompt use?', { context: { type: 'string' } });
    return inputRequired({ inputRequests: { user_context: wanted } });
  });
}
