// Run by node: calls from stdin as JSON, results to stdout. See sdk.py.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
const require = createRequire(process.env.WEIR_NODE_MODULES + "/x.js");
const { OpenAI, APIError } = require("openai");
const { Anthropic, APIError: AnthropicError } = require("@anthropic-ai/sdk");

const textOf = (e) =>
  e.type === "content_block_delta" ? e.delta.text ?? "" :
  e.type === "response.output_text.delta" ? e.delta : (e.choices ?? []).map((c) => c.text ?? c.delta?.content ?? "").join("");

async function run(call) {
  const theirs = call.kind === "messages" || call.kind === "count_tokens";
  const settings = { apiKey: call.key ?? "client-key", maxRetries: call.retries ?? 0, timeout: 15000 };
  const client = theirs ? new Anthropic({ ...settings, baseURL: call.base }) : new OpenAI({ ...settings, baseURL: call.base + "/v1" });
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

const calls = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(await Promise.all(calls.map(run))));
