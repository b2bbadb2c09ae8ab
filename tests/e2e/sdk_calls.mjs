// Run by node: calls from stdin as JSON, results to stdout. See sdk.py.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
const require = createRequire(process.env.WEIR_NODE_MODULES + "/x.js");
const { OpenAI, APIError } = require("openai");

const textOf = (e) =>
  e.type === "response.output_text.delta" ? e.delta : (e.choices ?? []).map((c) => c.text ?? c.delta?.content ?? "").join("");

async function run(call) {
  const client = new OpenAI({ apiKey: "client-key", baseURL: call.base + "/v1", maxRetries: call.retries ?? 0, timeout: 10000 });
  const options = { headers: call.mock ? { "x-mock": call.mock } : {} };
  const resource = { chat: client.chat.completions, completions: client.completions, embeddings: client.embeddings, responses: client.responses }[call.kind];
  const seen = [];
  try {
    if (call.kind === "models") {
      const all = [];
      for await (const m of client.models.list()) all.push(m);
      return { ok: all };
    }
    const r = await resource.create(call.args, options);
    if (!call.args.stream) return { ok: r };
    for await (const e of r) seen.push(e);
    return { ok: seen, text: seen.map(textOf).join("") };
  } catch (e) {
    return { error: e.constructor.name, status: e.status ?? null, message: e.message, body: e.error ?? null, text: seen.map(textOf).join(""), events: seen.length, api: e instanceof APIError };
  }
}

const calls = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(await Promise.all(calls.map(run))));
