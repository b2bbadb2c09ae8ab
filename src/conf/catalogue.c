/* Providers known by name: where they are, how they take a key, which variable usually holds it. */
#include "load.h"

#define BEARER "authorization"

/* Who stops charging when a connection is closed is as OpenRouter lists it (openrouter.ai/docs, streaming); whoever is not in that list
   is taken to go on. */
const struct catalogue_quirks catalogue_no_quirks = { .usage_option = true, .bills_cancelled = true };
static const struct catalogue_quirks
  quirks_openai = { "openai", .proven = true, .short_completions = true, .usage_option = true, .new_limit_name = true, .dated_dashes = true },
  quirks_azure = { "azure", .proven = true, .short_completions = true, .url_form = "https://NAME.openai.azure.com", .deployments = true, .usage_option = true, .new_limit_name = true,
                   .dated_dashes = true },
  quirks_anthropic = { "anthropic", .proven = true, .thinking = THINKING_WHEN_ASKED, .usage_always = true, .dated_digits = true },
  quirks_gemini = { "gemini", .proven = true, .usage_always = true, .bills_cancelled = true },
  quirks_mistral = { "mistral", .proven = true, .thinking = THINKING_SHOWN, .usage_always = true, .bills_cancelled = true, .old_limit_name = true },
  quirks_deepseek = { "deepseek", .proven = true, .thinking = THINKING_SHOWN, .usage_option = true, .old_limit_name = true },
  quirks_qwen = { "dashscope", .proven = true, .thinking = THINKING_SHOWN, .usage_option = true, .bills_cancelled = true, .old_limit_name = true },
  quirks_groq = { "groq", .proven = true, .thinking = THINKING_SHOWN, .usage_always = true, .bills_cancelled = true },
  quirks_xai = { "xai", REASONING_OUTSIDE, .proven = true, .usage_option = true, .usage_always = true, .tells_cost = true },
  quirks_cohere = { "cohere_chat", .thinking = THINKING_SHOWN, .usage_option = true, .old_limit_name = true },
  quirks_openrouter = { "openrouter", .usage_option = true, .usage_always = true, .tells_cost = true, .bills_cancelled = true },
  quirks_moonshot = { "moonshot", .thinking = THINKING_SHOWN, .usage_option = true, .bills_cancelled = true, .old_limit_name = true },
  quirks_together = { "together_ai", .thinking = THINKING_SHOWN, .usage_option = true, .old_limit_name = true },
  quirks_fireworks = { "fireworks_ai", .thinking = THINKING_SHOWN, .usage_option = true, .old_limit_name = true },
  quirks_perplexity = { "perplexity", REASONING_ALWAYS_OUTSIDE, .usage_always = true, .tells_cost = true, .bills_cancelled = true, .old_limit_name = true },
  quirks_cerebras = { "cerebras", .thinking = THINKING_SHOWN, .usage_option = true, .bills_cancelled = true },
  quirks_tokenmix = { .usage_option = true, .bills_cancelled = true },
  quirks_vercel = { "vercel_ai_gateway", .usage_option = true, .bills_cancelled = true },
  quirks_gateway = { .usage_option = true, .bills_cancelled = true },
  quirks_cloudflare = { .url_form = "https://gateway.ai.cloudflare.com/v1/ACCOUNT/GATEWAY/compat", .usage_option = true, .bills_cancelled = true },
  quirks_litellm = { .usage_option = true, .bills_cancelled = true, .local = true },
  quirks_mlflow = { .usage_option = true, .bills_cancelled = true, .local = true },
  quirks_bedrock = { "bedrock", .proven = true, .url_form = "https://bedrock-runtime.REGION.amazonaws.com", .thinking = THINKING_WHEN_ASKED, .usage_always = true, .bills_cancelled = true },
  quirks_ollama = { "ollama", .thinking = THINKING_SHOWN, .usage_option = true, .free = true, .local = true, .old_limit_name = true },
  quirks_vllm = { .thinking = THINKING_SHOWN, .short_completions = true, .usage_option = true, .free = true, .local = true },
  quirks_llamacpp = { .thinking = THINKING_SHOWN, .usage_option = true, .free = true, .local = true },
  quirks_lmstudio = { .thinking = THINKING_SHOWN, .usage_option = true, .free = true, .local = true, .old_limit_name = true };

static const struct catalogue_provider providers[] = {
  { "openai", "https://api.openai.com/v1", "OPENAI_API_KEY", BEARER, DIALECT_CHAT, NULL, &quirks_openai },
  { "anthropic", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY", "x-api-key", DIALECT_MESSAGES,
    "anthropic-version: 2023-06-01", &quirks_anthropic },
  { "gemini", "https://generativelanguage.googleapis.com/v1beta", "GEMINI_API_KEY", "x-goog-api-key", DIALECT_GEMINI, NULL, &quirks_gemini },
  { "azure", NULL, "AZURE_OPENAI_API_KEY", "api-key", DIALECT_CHAT, NULL, &quirks_azure },
  { "mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY", BEARER, DIALECT_CHAT, NULL, &quirks_mistral },
  { "deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", BEARER, DIALECT_CHAT, NULL, &quirks_deepseek },
  { "qwen", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY", BEARER, DIALECT_CHAT, NULL, &quirks_qwen },
  { "groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY", BEARER, DIALECT_CHAT, NULL, &quirks_groq },
  { "xai", "https://api.x.ai/v1", "XAI_API_KEY", BEARER, DIALECT_CHAT, NULL, &quirks_xai },
  { "bedrock", NULL, "AWS_BEARER_TOKEN_BEDROCK", BEARER, DIALECT_CONVERSE, NULL, &quirks_bedrock },            /* url and keys: aws.c */
  { "cohere", "https://api.cohere.ai/compatibility/v1", "CO_API_KEY", BEARER, DIALECT_CHAT, NULL, &quirks_cohere },
  { "moonshot", "https://api.moonshot.ai/v1", "MOONSHOT_API_KEY", BEARER, DIALECT_CHAT, NULL, &quirks_moonshot },
  { "together", "https://api.together.xyz/v1", "TOGETHER_API_KEY", BEARER, DIALECT_CHAT, NULL, &quirks_together },
  { "fireworks", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY", BEARER, DIALECT_CHAT, NULL, &quirks_fireworks },
  { "perplexity", "https://api.perplexity.ai", "PERPLEXITY_API_KEY", BEARER, DIALECT_CHAT, NULL, &quirks_perplexity },
  { "cerebras", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY", BEARER, DIALECT_CHAT, NULL, &quirks_cerebras },
  /* those that pass on to others */
  { "openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", BEARER, DIALECT_CHAT, NULL, &quirks_openrouter },
  { "tokenmix", "https://api.tokenmix.ai/v1", "TOKENMIX_API_KEY", BEARER, DIALECT_CHAT, NULL, &quirks_tokenmix },
  { "portkey", "https://api.portkey.ai/v1", "PORTKEY_API_KEY", "x-portkey-api-key", DIALECT_CHAT, NULL, &quirks_gateway },
  { "vercel", "https://ai-gateway.vercel.sh/v1", "AI_GATEWAY_API_KEY", BEARER, DIALECT_CHAT, NULL, &quirks_vercel },
  { "helicone", "https://ai-gateway.helicone.ai/v1", "HELICONE_API_KEY", BEARER, DIALECT_CHAT, NULL, &quirks_gateway },
  { "cloudflare", NULL, "CF_AIG_TOKEN", "cf-aig-authorization: Bearer", DIALECT_CHAT, NULL, &quirks_cloudflare },
  { "litellm", "http://127.0.0.1:4000/v1", "LITELLM_API_KEY", BEARER, DIALECT_CHAT, NULL, &quirks_litellm },
  { "mlflow", "http://127.0.0.1:5000/gateway/mlflow/v1", NULL, BEARER, DIALECT_CHAT, NULL, &quirks_mlflow },
  /* those that run models on machines of one's own */
  { "ollama", "http://127.0.0.1:11434/v1", NULL, BEARER, DIALECT_CHAT, NULL, &quirks_ollama },
  { "vllm", "http://127.0.0.1:8000/v1", NULL, BEARER, DIALECT_CHAT, NULL, &quirks_vllm },
  { "llamacpp", "http://127.0.0.1:8080/v1", NULL, BEARER, DIALECT_CHAT, NULL, &quirks_llamacpp },
  { "lmstudio", "http://127.0.0.1:1234/v1", NULL, BEARER, DIALECT_CHAT, NULL, &quirks_lmstudio },
};

/* Their dialects or ways to sign are not in this version. */
static const char *const later[] = { "vertex" };

const struct catalogue_provider *catalogue_at(size_t i) {
  return i < sizeof providers / sizeof *providers ? &providers[i] : NULL;
}

const struct catalogue_provider *catalogue_provider(struct span name) {
  const struct catalogue_provider *p;
  for (size_t i = 0; (p = catalogue_at(i)); i++)
    if (span_eq(name, span_cstr(p->name))) return p;
  return NULL;
}

bool catalogue_later(struct span name) {
  for (size_t i = 0; i < sizeof later / sizeof *later; i++)
    if (span_eq(name, span_cstr(later[i]))) return true;
  return false;
}
