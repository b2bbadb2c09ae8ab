// Run by node: a line of calls from stdin as JSON, a line of results to stdout. See sdk.py.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
const require = createRequire(process.env.WEIR_NODE_MODULES + "/x.js");
const { OpenAI, APIError } = require("openai");
const { Anthropic, APIError: AnthropicError } = require("@anthropic-ai/sdk");

const textOf = (e) =>
  e.type === "content_block_delta" ? e.delta.text ?? "" :
  e.type === "response.output_text.delta" ? e.delta : (e.choices ?? []).map((c) => c.text ?? c.delta?.content ?? "").join("");

// A talk with tools: what was said goes back as the SDK gave it, with the results of the tools. See sdk_talk.py.
const usual = (args, more) => ({ ...args, messages: [...args.messages, ...more] });
const talks = {
  "talk-chat": {
    ask: (client, args, stream) => stream ? client.chat.completions.stream({ ...args, stream_options: { include_usage: true } }).finalChatCompletion() : client.chat.completions.create(args),
    told: (c) => {
      const m = c.choices[0].message, u = c.usage;
      const calls = (m.tool_calls ?? []).map((t) => [t.function.name, JSON.parse(t.function.arguments)]);
      return { text: m.content ?? "", thinking: m.reasoning_content ?? "", calls, finish: c.choices[0].finish_reason,
        usage: [u.prompt_tokens, u.prompt_tokens_details?.cached_tokens ?? 0, u.completion_tokens] };
    },
    next: (args, c, results) => usual(args, [c.choices[0].message,
      ...c.choices[0].message.tool_calls.map((t) => ({ role: "tool", tool_call_id: t.id, content: results[t.function.name] }))]),
  },
  "talk-messages": {
    ask: (client, args, stream) => stream ? client.messages.stream(args).finalMessage() : client.messages.create(args),
    told: (m) => {
      const of = (kind, what) => m.content.filter((b) => b.type === kind).map(what), cached = m.usage.cache_read_input_tokens ?? 0;
      return { text: of("text", (b) => b.text).join(""), thinking: of("thinking", (b) => b.thinking).join(""), calls: of("tool_use", (b) => [b.name, b.input]), finish: m.stop_reason,
        usage: [m.usage.input_tokens + cached + (m.usage.cache_creation_input_tokens ?? 0), cached, m.usage.output_tokens] };
    },
    next: (args, m, results) => usual(args, [{ role: "assistant", content: m.content }, { role: "user", content:
      m.content.filter((b) => b.type === "tool_use").map((b) => ({ type: "tool_result", tool_use_id: b.id, content: results[b.name] })) }]),
  },
};

// What the SDK does by itself: it calls the tools.
async function runner(client, call) {
  const tools = call.args.tools.map((t) => ({ type: "function", function: { ...t.function, parse: JSON.parse, function: () => call.results[t.function.name] } }));
  const run = client.chat.completions.runTools({ ...call.args, tools, stream: call.stream, ...(call.stream ? { stream_options: { include_usage: true } } : {}) });
  return talks["talk-chat"].told(await run.finalChatCompletion());
}

async function talk(client, call) {
  const { ask, told, next } = talks[call.kind];
  try {
    if (call.helper === "runner") return { said: await runner(client, call) };
    const answer = await ask(client, call.args, call.stream), out = { said: told(answer) };
    if (call.results) out.then = told(await ask(client, next(call.args, answer, call.results), call.stream));
    return out;
  } catch (e) {
    return { error: e.constructor.name, status: e.status ?? null, message: e.message, body: e.error ?? null };
  }
}

async function run(call) {
  const theirs = ["messages", "count_tokens", "talk-messages"].includes(call.kind);
  const settings = { apiKey: call.key ?? "client-key", maxRetries: call.retries ?? 0, timeout: 15000 };
  const client = theirs ? new Anthropic({ ...settings, baseURL: call.base }) : new OpenAI({ ...settings, baseURL: call.base + "/v1" });
  if (call.kind in talks) return talk(client, call);
  const options = { headers: call.mock ? { "x-mock": call.mock } : {} };
  const seen = [];
  try {
    if (call.kind === "models") {
      const all = [];
      for await (const m of client.models.list()) all.push(m);
      return { ok: all };
    }
    const create = {
      chat: () => client.chat.completions.create(call.args, options),
      completions: () => client.completions.create(call.args, options),
      embeddings: () => client.embeddings.create(call.args, options),
      responses: () => client.responses.create(call.args, options),
      messages: () => client.messages.create(call.args, options),
      count_tokens: () => client.messages.countTokens(call.args, options),
    }[call.kind];
    const r = await create();
    if (!call.args.stream) return { ok: r };
    for await (const e of r) seen.push(e);
    return { ok: seen, text: seen.map(textOf).join("") };
  } catch (e) {
    return { error: e.constructor.name, status: e.status ?? null, message: e.message, body: e.error ?? null, text: seen.map(textOf).join(""), events: seen.length, api: e instanceof (theirs ? AnthropicError : APIError) };
  }
}

for await (const line of createInterface({ input: process.stdin })) console.log(JSON.stringify(await Promise.all(JSON.parse(line).map(run))));
