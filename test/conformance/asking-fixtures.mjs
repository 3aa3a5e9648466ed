/** Of what the suite wants to find: tools that ask the client back, by a result that says what is missing. */
import { createRequestStateCodec, inputRequired } from '@modelcontextprotocol/server';

export const states = createRequestStateCodec({ key: new Uint8Array(32).fill(7) });

export const text = (words) => ({ type: 'text', text: words });
export const user = (content) => ({ role: 'user', content });
export const ask = (message, properties) =>
  inputRequired.elicit({
    message,
    requestedSchema: { type: 'object', properties, required: Object.keys(properties) },
  });
export const answerTo = ({ mcpReq }, key) => mcpReq.inputResponses?.[key];

export function addAskingTools(server) {
  const tool = (name, run) => server.registerTool(name, { description: name }, run);
  tool('test_input_required_result_elicitation', (context) => {
    const given = answerTo(context, 'user_name');
    const name = given?.content?.name;
    if (typeof name === 'string') return { content: [text(`Hello, ${name}!`)] };
    return inputRequired({
      inputRequests: { user_name: ask('What is your name?', { name: { type: 'string' } }) },
    });
  });
  tool('test_input_required_result_sampling', (context) => {
    const given = answerTo(context, 'capital_question');
    if (given !== undefined) return { content: [text(given.content?.text ?? 'no text')] };
    const messages = [user(text('What is the capital of France?'))];
    return inputRequired({
      inputRequests: {
        capital_question: inputRequired.createMessage({ messages, maxTokens: 100 }),
      },
    });
  });
  for (const name of [
    'test_input_required_result_request_state',
    'test_input_required_result_tampered_state',
  ]) {
    tool(name, async (context) => {
      if (
        answerTo(context, 'confirm') !== undefined &&
        context.mcpReq.requestState() !== undefined
      ) {
        return { content: [text('state-ok')] };
      }
      return inputRequired({
        inputRequests: { confirm: ask('Please confirm', { ok: { type: 'boolean' } }) },
        requestState: await states.mint({ step: 1 }),
      });
    });
  }
}

/** More of the same: several things asked at once, one after another, and only what the client can do. */
export function addRounds(server) {
  const tool = (name, run) => server.registerTool(name, { description: name }, run);
  const words = { type: 'string' };
  const sample = (said, maxTokens) =>
    inputRequired.createMessage({ messages: [user(text(said))], maxTokens });
  tool('test_input_required_result_list_roots', (context) => {
    const given = answerTo(context, 'client_roots');
    if (given !== undefined) return { content: [text(JSON.stringify(given.roots ?? []))] };
    return inputRequired({ inputRequests: { client_roots: inputRequired.listRoots() } });
  });
  tool('test_input_required_result_multiple_inputs', async (context) => {
    const names = ['user_name', 'greeting', 'client_roots'];
    if (names.every((name) => answerTo(context, name) !== undefined)) {
      return { content: [text('all of them')] };
    }
    return inputRequired({
      inputRequests: {
        user_name: ask('What is your name?', { name: words }),
        greeting: sample('Generate a greeting', 50),
        client_roots: inputRequired.listRoots(),
      },
      requestState: await states.mint({ step: 1 }),
    });
  });
  tool('test_input_required_result_multi_round', async (context) => {
    const step = context.mcpReq.requestState()?.step ?? 0;
    if (step === 2 && answerTo(context, 'step2') !== undefined) return { content: [text('done')] };
    const isSecond = step === 1 && answerTo(context, 'step1') !== undefined;
    return inputRequired({
      inputRequests: isSecond
        ? { step2: ask('Step 2: What is your favorite color?', { color: words }) }
        : { step1: ask('Step 1: What is your name?', { name: words }) },
      requestState: await states.mint({ step: isSecond ? 2 : 1 }),
    });
  });
  tool('test_input_required_result_capabilities', ({ mcpReq }) => {
    const able = mcpReq.envelope?.['io.modelcontextprotocol/clientCapabilities'] ?? {};
    return inputRequired({
      inputRequests: {
        ...(able.sampling ? { question: sample('What is the capital of France?', 50) } : {}),
        ...(able.elicitation ? { user_name: ask('What is your name?', { name: words }) } : {}),
      },
    });
  });
  tool('test_missing_capability', () =>
    inputRequired({ inputRequests: { question: sample('Can you?', 10) } }),
  );
  tool('test_streaming_elicitation', () =>
    inputRequired({ inputRequests: { user_name: ask('What is your name?', { name: words }) } }),
  );
  tool('test_logging_tool', async ({ mcpReq }) => {
    await mcpReq.log('info', 'heard only by who asked to');
    return { content: [text('done')] };
  });
}
