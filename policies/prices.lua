-- prices.lua: what the usual models cost and hold, so that weir can count money before anybody has given it a price list.
--
-- USD per million tokens, as the providers' own price pages and LiteLLM's list had them on the day below. Prices go stale: name a newer
-- list in weir.lua with `prices "file.json"`, or state a model's price in its provider. This table comes last. It is part of the binary;
-- a policies/prices.lua beside weir.lua takes its place. Words: doc/configuration.md, "Prices".

local thinks, talks = true, false

-- input, cache read, output
local function openai(window, output, reasoning, i, r, o, more)
  local price = { input = usd(i), cache_read = r and usd(r), output = usd(o), per_search = usd(0.01) }
  for k, v in pairs(more or {}) do price[k] = v end
  return { window = window, max_output = output, reasoning = reasoning, price = price }
end
-- served in the dialect responses alone
local function responses(model)
  model.dialect = "responses"
  return model
end
-- another service tier, or long input
local function rates(i, r, o, more)
  local t = { input = usd(i), cache_read = r and usd(r), output = usd(o) }
  for k, v in pairs(more or {}) do t[k] = v end
  return t
end
-- input, cache read, cache written for 5 minutes and for 1 hour, output
local function claude(window, output, i, r, w, h, o, more)
  local price = { input = usd(i), cache_read = usd(r), cache_write = usd(w), cache_write_1h = usd(h), output = usd(o), per_search = usd(0.01) }
  for k, v in pairs(more or {}) do price[k] = v end
  return { window = window, max_output = output, reasoning = thinks, price = price }
end
local function plain(window, output, reasoning, i, r, o, more)
  local m = openai(window, output, reasoning, i, r, o, more)
  m.price.per_search = more and more.per_search
  return m
end
local function gemini(i, r, o, more)
  local m = openai(1048576, 65536, thinks, i, r, o, more)
  m.price.per_search = more and more.per_search or usd(0.014)
  return m
end
local function embedding(window, i) return { window = window, reasoning = talks, price = { input = usd(i), output = usd(0) } } end
local function steps(...) return { ... } end

local long_sonnet = { above = 200000, input = usd(6), cache_read = usd(0.6), cache_write = usd(7.5), cache_write_1h = usd(12), output = usd(22.5) }

local models = {
  dated = "2026-08-01",

  gemini = {
    ["gemini-3.6-flash"] = gemini(1.5, 0.15, 7.5, { priority = rates(2.7, 0.27, 13.5), flex = rates(0.75, 0.075, 3.75) }),
    ["gemini-3.5-flash"] = gemini(1.5, 0.15, 9, { priority = rates(2.7, 0.27, 16.2) }),
    ["gemini-3.5-flash-lite"] = gemini(0.3, 0.03, 2.5, { priority = rates(0.54, 0.05, 4.5), flex = rates(0.15, 0.02, 1.25) }),
    ["gemini-3.1-pro-preview"] = gemini(2, 0.2, 12, { long = rates(4, 0.4, 18, { above = 200000 }), priority = rates(3.6, 0.36, 21.6, { long = rates(7.2, 0.72, 32.4, { above = 200000 }) }) }),
    ["gemini-3.1-flash-lite"] = gemini(0.25, 0.025, 1.5, { audio_in = usd(0.5), priority = rates(0.45, 0.045, 2.7), flex = rates(0.125, 0.0125, 0.75) }),
    ["gemini-3-pro-preview"] = gemini(2, 0.2, 12, { long = rates(4, 0.4, 18, { above = 200000 }), priority = rates(3.6, 0.36, 21.6, { long = rates(7.2, 0.72, 32.4, { above = 200000 }) }) }),
    ["gemini-3-flash-preview"] = gemini(0.5, 0.05, 3, { audio_in = usd(1), priority = rates(0.9, 0.09, 5.4, { audio_in = usd(1.8) }) }),
    ["gemini-2.5-pro"] = gemini(1.25, 0.125, 10, { per_search = usd(0.035), long = rates(2.5, 0.25, 15, { above = 200000 }) }),
    ["gemini-2.5-flash"] = gemini(0.3, 0.03, 2.5, { per_search = usd(0.035), audio_in = usd(1) }),
    ["gemini-2.5-flash-lite"] = gemini(0.1, 0.01, 0.4, { per_search = usd(0.035), audio_in = usd(0.3) }),
    ["gemini-2.0-flash"] = plain(1048576, 8192, talks, 0.1, 0.025, 0.4, { per_search = usd(0.035), audio_in = usd(0.7) }),
    ["gemini-2.0-flash-lite"] = plain(1048576, 8192, talks, 0.075, 0.01875, 0.3, { per_search = usd(0.035) }),
    ["gemini-embedding-001"] = embedding(2048, 0.15),
  },

  openai = {
    ["gpt-5.6"] = openai(1050000, 128000, thinks, 5, 0.5, 30, { cache_write = usd(6.25),
      long = rates(10, 1, 45, { above = 272000, cache_write = usd(12.5) }), priority = rates(10, 1, 60, { cache_write = usd(12.5) }),
      flex = rates(2.5, 0.25, 15, { cache_write = usd(3.125), long = rates(5, 0.5, 22.5, { above = 272000, cache_write = usd(6.25) }) }) }),
    ["gpt-5.6-sol"] = openai(1050000, 128000, thinks, 5, 0.5, 30, { cache_write = usd(6.25),
      long = rates(10, 1, 45, { above = 272000, cache_write = usd(12.5) }), priority = rates(10, 1, 60, { cache_write = usd(12.5) }) }),
    ["gpt-5.6-terra"] = openai(1050000, 128000, thinks, 2, 0.2, 12, { cache_write = usd(2.5),
      long = rates(4, 0.4, 18, { above = 272000, cache_write = usd(5) }), priority = rates(4, 0.4, 24, { cache_write = usd(5) }) }),
    ["gpt-5.6-luna"] = openai(1050000, 128000, thinks, 0.2, 0.02, 1.2, { cache_write = usd(0.25),
      long = rates(0.4, 0.04, 1.8, { above = 272000, cache_write = usd(0.5) }), priority = rates(0.4, 0.04, 2.4, { cache_write = usd(0.5) }) }),
    ["gpt-5.5"] = openai(1050000, 128000, thinks, 5, 0.5, 30, { long = rates(10, 1, 45, { above = 272000 }), priority = rates(10, 1, 60), flex = rates(2.5, 0.25, 15) }),
    ["gpt-5.4"] = openai(1050000, 128000, thinks, 2.5, 0.25, 15, { long = rates(5, 0.5, 22.5, { above = 272000 }), priority = rates(5, 0.5, 30), flex = rates(1.25, 0.13, 7.5) }),
    ["gpt-5.4-mini"] = openai(272000, 128000, thinks, 0.75, 0.075, 4.5, { priority = rates(1.5, 0.15, 9), flex = rates(0.375, 0.0375, 2.25) }),
    ["gpt-5.4-nano"] = openai(272000, 128000, thinks, 0.2, 0.02, 1.25, { flex = rates(0.1, 0.01, 0.625) }),
    ["gpt-5.5-pro"] = responses(openai(1050000, 128000, thinks, 30, 3, 180, { long = rates(60, 6, 270, { above = 272000 }), flex = rates(15, nil, 90) })),
    ["gpt-5.4-pro"] = responses(openai(1050000, 128000, thinks, 30, 3, 180, { long = rates(60, 6, 270, { above = 272000 }), flex = rates(15, nil, 90) })),
    ["gpt-5.3-codex"] = responses(openai(272000, 128000, thinks, 1.75, 0.175, 14, { priority = rates(3.5, 0.35, 28) })),
    ["gpt-5.2-codex"] = responses(openai(272000, 128000, thinks, 1.75, 0.175, 14, { priority = rates(3.5, 0.35, 28) })),
    ["gpt-5.2-pro"] = responses(openai(272000, 128000, thinks, 21, nil, 168)),
    ["gpt-5.1-codex-max"] = responses(openai(272000, 128000, thinks, 1.25, 0.125, 10)),
    ["gpt-5.1-codex-mini"] = responses(openai(272000, 128000, thinks, 0.25, 0.025, 2, { priority = rates(0.45, 0.045, 3.6) })),
    ["gpt-5.1-codex"] = responses(openai(272000, 128000, thinks, 1.25, 0.125, 10, { priority = rates(2.5, 0.25, 20) })),
    ["gpt-5-pro"] = responses(openai(400000, 128000, thinks, 15, nil, 120)),
    ["gpt-5.2"] = openai(272000, 128000, thinks, 1.75, 0.175, 14, { priority = rates(3.5, 0.35, 28) }),
    ["gpt-5.1"] = openai(272000, 128000, thinks, 1.25, 0.125, 10, { priority = rates(2.5, 0.25, 20) }),
    ["gpt-5"] = openai(272000, 128000, thinks, 1.25, 0.125, 10, { priority = rates(2.5, 0.25, 20), flex = rates(0.625, 0.0625, 5) }),
    ["gpt-5-codex"] = responses(openai(272000, 128000, thinks, 1.25, 0.125, 10)),
    ["o3-pro"] = responses(openai(200000, 100000, thinks, 20, nil, 80)),
    ["o1-pro"] = responses(openai(200000, 100000, thinks, 150, nil, 600)),
    ["gpt-5-mini"] = openai(272000, 128000, thinks, 0.25, 0.025, 2, { priority = rates(0.45, 0.045, 3.6), flex = rates(0.125, 0.0125, 1) }),
    ["gpt-5-nano"] = openai(272000, 128000, thinks, 0.05, 0.005, 0.4, { flex = rates(0.025, 0.0025, 0.2) }),
    ["gpt-4.1"] = openai(1047576, 32768, talks, 2, 0.5, 8, { priority = rates(3.5, 0.875, 14) }),
    ["gpt-4.1-mini"] = openai(1047576, 32768, talks, 0.4, 0.1, 1.6, { priority = rates(0.7, 0.175, 2.8) }),
    ["gpt-4.1-nano"] = openai(1047576, 32768, talks, 0.1, 0.025, 0.4, { priority = rates(0.2, 0.05, 0.8) }),
    ["gpt-4o"] = openai(128000, 16384, talks, 2.5, 1.25, 10, { priority = rates(4.25, 2.125, 17) }),
    ["gpt-4o-mini"] = openai(128000, 16384, talks, 0.15, 0.075, 0.6, { priority = rates(0.25, 0.125, 1) }),
    ["gpt-audio"] = openai(128000, 16384, talks, 2.5, nil, 10, { audio_in = usd(32), audio_out = usd(64) }),
    ["gpt-4o-audio-preview"] = openai(128000, 16384, talks, 2.5, nil, 10, { audio_in = usd(40), audio_out = usd(80) }),
    ["gpt-3.5-turbo"] = openai(16385, 4096, talks, 0.5, nil, 1.5),
    ["o3"] = openai(200000, 100000, thinks, 2, 0.5, 8, { priority = rates(3.5, 0.875, 14), flex = rates(1, 0.25, 4) }),
    ["o4-mini"] = openai(200000, 100000, thinks, 1.1, 0.275, 4.4, { priority = rates(2, 0.5, 8), flex = rates(0.55, 0.1375, 2.2) }),
    ["o3-mini"] = openai(200000, 100000, thinks, 1.1, 0.55, 4.4),
    ["text-embedding-3-small"] = embedding(8191, 0.02),
    ["text-embedding-3-large"] = embedding(8191, 0.13),
  },

  anthropic = {
    ["claude-opus-5"] = claude(1000000, 128000, 5, 0.5, 6.25, 10, 25, { us = 1.1, fast = 2 }),
    ["claude-fable-5"] = claude(1000000, 128000, 10, 1, 12.5, 20, 50, { us = 1.1 }),
    ["claude-sonnet-5"] = claude(1000000, 128000, 2, 0.2, 2.5, 4, 10, { us = 1.1 }),
    ["claude-opus-4-8"] = claude(1000000, 128000, 5, 0.5, 6.25, 10, 25, { us = 1.1, fast = 2 }),
    ["claude-opus-4-7"] = claude(1000000, 128000, 5, 0.5, 6.25, 10, 25, { us = 1.1, fast = 6 }),
    ["claude-opus-4-6"] = claude(1000000, 128000, 5, 0.5, 6.25, 10, 25, { us = 1.1, fast = 6 }),
    ["claude-opus-4-5"] = claude(200000, 64000, 5, 0.5, 6.25, 10, 25),
    ["claude-opus-4-1"] = claude(200000, 32000, 15, 1.5, 18.75, 30, 75),
    ["claude-sonnet-4-6"] = claude(1000000, 64000, 3, 0.3, 3.75, 6, 15),
    ["claude-sonnet-4-5"] = claude(200000, 64000, 3, 0.3, 3.75, 6, 15, { long = long_sonnet }),
    ["claude-sonnet-4"] = claude(1000000, 64000, 3, 0.3, 3.75, 6, 15, { long = long_sonnet }),
    ["claude-haiku-4-5"] = claude(200000, 64000, 1, 0.1, 1.25, 2, 5),
  },

  deepseek = {
    ["deepseek-v4-pro"] = plain(1000000, 8192, thinks, 0.435, 0.003625, 0.87),
    ["deepseek-v4-flash"] = plain(1000000, 8192, thinks, 0.14, 0.0028, 0.28),
    ["deepseek-chat"] = plain(131072, 8192, talks, 0.28, 0.028, 0.42),
    ["deepseek-reasoner"] = plain(131072, 65536, thinks, 0.28, 0.028, 0.42),
  },

  mistral = {
    ["mistral-large-latest"] = plain(262144, 262144, talks, 0.5, nil, 1.5),
    ["mistral-medium-latest"] = plain(262144, 262144, thinks, 1.5, nil, 7.5),
    ["mistral-small-latest"] = plain(131072, 131072, talks, 0.06, nil, 0.18),
    ["magistral-medium-latest"] = plain(40000, 40000, thinks, 2, nil, 5),
    ["codestral-latest"] = plain(32000, 8191, talks, 1, nil, 3),
    ["ministral-8b-latest"] = plain(262144, 262144, talks, 0.15, nil, 0.15),
    ["mistral-embed"] = embedding(8192, 0.1),
  },

  qwen = {
    ["qwen3.7-max"] = plain(991808, 65536, thinks, 2.5, 0.5, 7.5),
    ["qwen3-max"] = plain(258048, 65536, thinks, 1.2, nil, 6, { long = steps(rates(2.4, nil, 12, { above = 32000 }), rates(3, nil, 15, { above = 128000 })) }),
    ["qwen-plus"] = plain(129024, 16384, thinks, 0.4, nil, 1.2),
    ["qwen-flash"] = plain(997952, 32768, thinks, 0.05, nil, 0.4, { long = rates(0.25, nil, 2, { above = 256000 }) }),
    ["qwen3-coder-plus"] = plain(997952, 65536, talks, 1, 0.1, 5, { long = steps(rates(1.8, 0.18, 9, { above = 32000 }),
      rates(3, 0.3, 15, { above = 128000 }), rates(6, 0.6, 60, { above = 256000 })) }),
  },

  groq = {
    ["llama-3.3-70b-versatile"] = plain(128000, 32768, talks, 0.59, nil, 0.79),
    ["llama-3.1-8b-instant"] = plain(128000, 8192, talks, 0.05, nil, 0.08),
    ["openai/gpt-oss-120b"] = plain(131072, 32766, thinks, 0.15, 0.075, 0.6),
    ["openai/gpt-oss-20b"] = plain(131072, 32768, thinks, 0.075, 0.0375, 0.3),
    ["qwen/qwen3-32b"] = plain(131000, 131000, thinks, 0.29, nil, 0.59),
  },

  -- long input begins at the number itself here, not above it
  xai = {
    ["grok-4.5"] = plain(500000, 500000, thinks, 2, 0.5, 6, { long = rates(4, 1, 12, { above = 199999 }) }),
    ["grok-4.3"] = plain(1000000, 1000000, thinks, 1.25, 0.2, 2.5, { long = rates(2.5, 0.4, 5, { above = 199999 }) }),
    ["grok-4"] = plain(256000, 256000, thinks, 3, nil, 15),
    ["grok-4-1-fast-reasoning"] = plain(2000000, 2000000, thinks, 0.2, 0.05, 0.5, { long = rates(0.4, nil, 1, { above = 127999 }) }),
    ["grok-4-1-fast-non-reasoning"] = plain(2000000, 2000000, talks, 0.2, 0.05, 0.5, { long = rates(0.4, nil, 1, { above = 127999 }) }),
    ["grok-code-fast-1"] = plain(256000, 256000, thinks, 0.2, 0.02, 1.5),
    ["grok-3"] = plain(131072, 131072, talks, 3, 0.75, 15),
    ["grok-3-mini"] = plain(131072, 131072, thinks, 0.3, 0.075, 0.5),
  },

  moonshot = {
    ["kimi-k2.6"] = plain(262144, 262144, thinks, 0.95, 0.16, 4),
    ["kimi-k2.5"] = plain(262144, 262144, thinks, 0.6, 0.1, 3),
    ["kimi-k2-thinking"] = plain(262144, 262144, thinks, 0.6, 0.15, 2.5),
  },

  -- each request is a search, charged by how much context it brings: here the middle one
  perplexity = {
    ["sonar"] = plain(128000, nil, talks, 1, nil, 1, { per_request = usd(0.008) }),
    ["sonar-pro"] = plain(200000, 8000, talks, 3, nil, 15, { per_request = usd(0.01) }),
    ["sonar-reasoning-pro"] = plain(128000, nil, thinks, 2, nil, 8, { per_request = usd(0.01) }),
    ["sonar-deep-research"] = plain(128000, nil, thinks, 2, nil, 8, { reasoning = usd(3), per_search = usd(0.005) }),
  },

  cerebras = {
    ["gpt-oss-120b"] = plain(131072, 32768, thinks, 0.35, nil, 0.75),
    ["llama-3.3-70b"] = plain(128000, 128000, talks, 0.85, nil, 1.2),
    ["zai-glm-4.7"] = plain(128000, 128000, thinks, 2.25, nil, 2.75),
  },
}

-- Amazon's own ids: of a region, and of profiles that reach over some. Where these differ in price, `near` is that of "us." and "eu.".
models.bedrock = {}
local function bedrock(id, model, near)
  local b = models.bedrock
  b[id], b["global." .. id] = model, model
  for place in ("us. eu. " .. (near and "jp. au." or "")):gmatch "%S+" do b[place .. id] = near or model end
end
bedrock("anthropic.claude-opus-5", claude(1000000, 128000, 5, 0.5, 6.25, 10, 25), claude(1000000, 128000, 5.5, 0.55, 6.875, 11, 27.5))
bedrock("anthropic.claude-fable-5", claude(1000000, 128000, 10, 1, 12.5, 20, 50), claude(1000000, 128000, 11, 1.1, 13.75, 22, 55))
bedrock("anthropic.claude-sonnet-5", claude(1000000, 128000, 2, 0.2, 2.5, 4, 10), claude(1000000, 128000, 2.2, 0.22, 2.75, 4.4, 11))
for id in ("opus-4-8 opus-4-7 opus-4-6-v1"):gmatch "%S+" do
  bedrock("anthropic.claude-" .. id, claude(1000000, 128000, 5, 0.5, 6.25, 10, 25), claude(1000000, 128000, 5.5, 0.55, 6.875, 11, 27.5))
end
bedrock("anthropic.claude-opus-4-5-20251101-v1:0", claude(200000, 64000, 5, 0.5, 6.25, 10, 25), claude(200000, 64000, 5.5, 0.55, 6.875, 11, 27.5))
bedrock("anthropic.claude-opus-4-1-20250805-v1:0", claude(200000, 32000, 15, 1.5, 18.75, 30, 75))
bedrock("anthropic.claude-sonnet-4-6", claude(1000000, 64000, 3, 0.3, 3.75, 6, 15), claude(1000000, 64000, 3.3, 0.33, 4.125, 6.6, 16.5))
bedrock("anthropic.claude-sonnet-4-5-20250929-v1:0", claude(200000, 64000, 3, 0.3, 3.75, 6, 15, { long = long_sonnet }),
  claude(200000, 64000, 3.3, 0.33, 4.125, 6.6, 16.5, { long = { above = 200000, input = usd(6.6), cache_read = usd(0.66), cache_write = usd(8.25), cache_write_1h = usd(13.2), output = usd(24.75) } }))
bedrock("anthropic.claude-sonnet-4-20250514-v1:0", claude(1000000, 64000, 3, 0.3, 3.75, 6, 15, { long = long_sonnet }))
bedrock("anthropic.claude-haiku-4-5-20251001-v1:0", claude(200000, 64000, 1, 0.1, 1.25, 2, 5), claude(200000, 64000, 1.1, 0.11, 1.375, 2.2, 5.5))
bedrock("amazon.nova-micro-v1:0", plain(128000, 10000, talks, 0.035, nil, 0.14))
bedrock("amazon.nova-lite-v1:0", plain(300000, 10000, talks, 0.06, nil, 0.24))
bedrock("amazon.nova-pro-v1:0", plain(300000, 10000, talks, 0.8, nil, 3.2))
bedrock("amazon.nova-premier-v1:0", plain(1000000, 10000, talks, 2.5, nil, 12.5))
bedrock("amazon.nova-2-lite-v1:0", plain(1000000, 64000, thinks, 0.3, 0.075, 2.5), plain(1000000, 64000, thinks, 0.33, 0.0825, 2.75))
bedrock("openai.gpt-oss-120b-1:0", plain(128000, 128000, thinks, 0.15, nil, 0.6))
bedrock("openai.gpt-oss-20b-1:0", plain(128000, 128000, thinks, 0.07, nil, 0.3))
bedrock("meta.llama3-3-70b-instruct-v1:0", plain(128000, 4096, talks, 0.72, nil, 0.72))
bedrock("deepseek.v3.2", plain(163840, 163840, talks, 0.62, nil, 1.85))
bedrock("deepseek.r1-v1:0", plain(128000, 4096, thinks, 1.35, nil, 5.4))

-- What models take and do, as LiteLLM's list had it on that day; what is not said here of a model is not known. `temperature = false`: its
-- provider refuses one. `prefill = false`: and an answer that is begun.
local function know(provider, names, facts)
  for name in names:gmatch "%S+" do
    for word, value in pairs(facts) do models[provider][name][word] = value end
  end
end

know("openai", "gpt-5.6 gpt-5.6-sol gpt-5.6-terra gpt-5.6-luna gpt-5.5 gpt-5.4 gpt-5.4-mini gpt-5.4-nano gpt-5.3-codex gpt-5.2 gpt-5.1 gpt-5 gpt-5-codex "
  .. "gpt-5-mini gpt-5-nano gpt-4.1 gpt-4.1-mini gpt-4.1-nano gpt-4o gpt-4o-mini", { images = true, pdf = true, audio = false, tools = true, parallel_tools = true, json_schema = true })
know("openai", "o3 o4-mini", { images = true, pdf = true, audio = false, tools = true, parallel_tools = false, json_schema = true })
know("openai", "o3-mini", { images = false, audio = false, tools = true, parallel_tools = false, json_schema = true })
know("openai", "gpt-audio gpt-4o-audio-preview", { images = false, audio = true, tools = true, parallel_tools = true, json_schema = false })
know("openai", "gpt-3.5-turbo", { images = false, pdf = false, audio = false, tools = true })
know("openai", "o3 o4-mini o3-mini gpt-5 gpt-5-codex gpt-5-mini gpt-5-nano", { temperature = false })
know("anthropic", "claude-opus-5 claude-fable-5 claude-sonnet-5 claude-opus-4-8 claude-opus-4-7 claude-opus-4-6 claude-opus-4-5 claude-opus-4-1 claude-sonnet-4-6 "
  .. "claude-sonnet-4-5 claude-sonnet-4 claude-haiku-4-5", { images = true, pdf = true, audio = false, tools = true, json_schema = true })
know("anthropic", "claude-opus-4-5 claude-opus-4-1 claude-sonnet-4-6 claude-sonnet-4-5 claude-sonnet-4 claude-haiku-4-5", { prefill = true })
know("anthropic", "claude-opus-5 claude-fable-5 claude-sonnet-5 claude-opus-4-8 claude-opus-4-7 claude-opus-4-6", { prefill = false })
know("anthropic", "claude-opus-5 claude-fable-5 claude-sonnet-5 claude-opus-4-8 claude-opus-4-7", { temperature = false })
know("anthropic", "claude-sonnet-4", { deprecated = "2026-05-14" })
know("gemini", "gemini-3.6-flash gemini-3.5-flash gemini-3.5-flash-lite gemini-3.1-pro-preview gemini-3.1-flash-lite gemini-3-pro-preview gemini-2.5-pro",
  { images = true, pdf = true, audio = true, tools = true, json_schema = true })
know("gemini", "gemini-3-flash-preview gemini-2.5-flash gemini-2.5-flash-lite", { images = true, pdf = true, tools = true, json_schema = true })
know("gemini", "gemini-2.0-flash gemini-2.0-flash-lite", { images = true, tools = true, json_schema = true, deprecated = "2026-06-01" })
know("gemini", "gemini-3-pro-preview", { deprecated = "2026-03-09" })
know("deepseek", "deepseek-v4-pro deepseek-v4-flash deepseek-chat deepseek-reasoner", { images = false, audio = false, prefill = true })
know("deepseek", "deepseek-v4-pro deepseek-v4-flash deepseek-chat", { tools = true, parallel_tools = true })
know("deepseek", "deepseek-reasoner", { tools = false })
know("mistral", "mistral-large-latest mistral-medium-latest mistral-small-latest ministral-8b-latest", { images = true, audio = false, tools = true, json_schema = true, prefill = true })
know("mistral", "magistral-medium-latest", { tools = true, json_schema = true, prefill = true })
know("mistral", "codestral-latest", { images = false, audio = false, json_schema = true, prefill = true })
know("qwen", "qwen3.7-max qwen3-max qwen-plus qwen-flash qwen3-coder-plus", { images = false, audio = false, tools = true })
know("groq", "llama-3.3-70b-versatile llama-3.1-8b-instant qwen/qwen3-32b", { images = false, audio = false, tools = true, json_schema = false })
know("groq", "openai/gpt-oss-120b openai/gpt-oss-20b", { images = false, audio = false, tools = true, json_schema = true })
know("xai", "grok-4.5 grok-4.3 grok-4-1-fast-reasoning grok-4-1-fast-non-reasoning", { images = true, tools = true, json_schema = true })
know("xai", "grok-4 grok-code-fast-1 grok-3 grok-3-mini", { tools = true })
know("xai", "grok-4-1-fast-reasoning grok-4-1-fast-non-reasoning grok-code-fast-1 grok-3", { deprecated = "2026-05-15" })
know("xai", "grok-3-mini", { deprecated = "2026-02-28" })
know("moonshot", "kimi-k2.6 kimi-k2.5", { images = true, tools = true, json_schema = true })
know("moonshot", "kimi-k2-thinking", { images = false, tools = true, deprecated = "2026-05-25" })
know("cerebras", "gpt-oss-120b llama-3.3-70b zai-glm-4.7", { images = false, audio = false, tools = true })

return models
