/* Providers known by name: where they are, how they take a key, which variable usually holds it. */
#include "load.h"

#define BEARER "authorization"

static const struct catalogue_provider providers[] = {
  { "openai", "https://api.openai.com/v1", "OPENAI_API_KEY", BEARER, DIALECT_CHAT, NULL },
  { "anthropic", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY", "x-api-key", DIALECT_MESSAGES,
    "anthropic-version: 2023-06-01" },
  { "azure", NULL, "AZURE_OPENAI_API_KEY", "api-key", DIALECT_CHAT, NULL },
  { "mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY", BEARER, DIALECT_CHAT, NULL },
  { "deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", BEARER, DIALECT_CHAT, NULL },
  { "qwen", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY", BEARER, DIALECT_CHAT, NULL },
  { "groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY", BEARER, DIALECT_CHAT, NULL },
  { "xai", "https://api.x.ai/v1", "XAI_API_KEY", BEARER, DIALECT_CHAT, NULL },
  { "openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", BEARER, DIALECT_CHAT, NULL },
  { "moonshot", "https://api.moonshot.ai/v1", "MOONSHOT_API_KEY", BEARER, DIALECT_CHAT, NULL },
  { "together", "https://api.together.xyz/v1", "TOGETHER_API_KEY", BEARER, DIALECT_CHAT, NULL },
  { "fireworks", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY", BEARER, DIALECT_CHAT, NULL },
  { "perplexity", "https://api.perplexity.ai", "PERPLEXITY_API_KEY", BEARER, DIALECT_CHAT, NULL },
  { "cerebras", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY", BEARER, DIALECT_CHAT, NULL },
  { "ollama", "http://127.0.0.1:11434/v1", NULL, BEARER, DIALECT_CHAT, NULL },
  { "vllm", "http://127.0.0.1:8000/v1", NULL, BEARER, DIALECT_CHAT, NULL },
  { "llamacpp", "http://127.0.0.1:8080/v1", NULL, BEARER, DIALECT_CHAT, NULL },
  { "lmstudio", "http://127.0.0.1:1234/v1", NULL, BEARER, DIALECT_CHAT, NULL },
};

/* Their dialects or ways to sign are not in this version. */
static const char *const later[] = { "gemini", "vertex", "bedrock", "cohere" };

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
