/* One row a case: what, from, to, model, body, what comes out (NULL: refused), losses (or the refused field). */
{ "text", C, G, NULL, CU, GU, "" },
{ "text M", M, G, NULL, MU, GU CONFIG("\"maxOutputTokens\":5"), "" },
{ "system", C, G, NULL, "\"messages\":[{\"role\":\"system\",\"content\":\"a\"},{\"role\":\"developer\",\"content\":\"b\"}," U "]", GU ",\"systemInstruction\":{\"parts\":[{\"text\":\"a\"},{\"text\":\"b\"}]}", "" },
{ "system M", M, G, NULL, "\"system\":\"a\"," MU, GU ",\"systemInstruction\":{\"parts\":[{\"text\":\"a\"}]}" CONFIG("\"maxOutputTokens\":5"), "" },
{ "system in the middle", C, G, NULL, "\"messages\":[" U ",{\"role\":\"system\",\"content\":\"s\"}]", SAYS("{\"text\":\"hi\"},{\"text\":\"<system>\\ns\\n</system>\"}"), "system" },
{ "no message", C, G, NULL, "\"messages\":[{\"role\":\"system\",\"content\":\"s\"}]", NULL, "messages" },
{ "user name", C, G, NULL, "\"messages\":[{\"role\":\"user\",\"name\":\"ann\",\"content\":\"hi\"}]", GU, "name" },
{ "neighbours are merged", C, G, NULL, "\"messages\":[" U "," U ",{\"role\":\"assistant\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"\"}," U "]",
  "\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"},{\"text\":\"hi\"}]},{\"role\":\"model\",\"parts\":[{\"text\":\"a\"}]},{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}]", "" },
{ "image", C, G, NULL, TALK("{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,iVBO\"}}"), SAYS("{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"iVBO\"}}"), "" },
{ "image detail", C, G, NULL, TALK("{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/jpg;base64,iVBO\",\"detail\":\"low\"}}"), SAYS("{\"inlineData\":{\"mimeType\":\"image/jpeg\",\"data\":\"iVBO\"}}"), "detail" },
{ "image by address", C, G, NULL, TALK("{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x.example/a.png\"}}"), NULL, "messages[0].content[0]" },
{ "image that lies with Google", C, G, NULL, TALK("{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://generativelanguage.googleapis.com/v1beta/files/a\"}}"),
  SAYS("{\"fileData\":{\"fileUri\":\"https://generativelanguage.googleapis.com/v1beta/files/a\"}}"), "" },
{ "pdf", C, G, NULL, TALK("{\"type\":\"file\",\"file\":{\"filename\":\"a.pdf\",\"file_data\":\"data:application/pdf;base64,JVBE\"}}"), SAYS("{\"inlineData\":{\"mimeType\":\"application/pdf\",\"data\":\"JVBE\"}}"), "" },
{ "pdf with a title", M, G, NULL, TALK("{\"type\":\"document\",\"title\":\"t\",\"source\":{\"type\":\"base64\",\"media_type\":\"application/pdf\",\"data\":\"JVBE\"}}"),
  SAYS("{\"inlineData\":{\"mimeType\":\"application/pdf\",\"data\":\"JVBE\"}}"), "title" },
{ "audio", C, G, NULL, TALK("{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"AA\",\"format\":\"wav\"}}"), SAYS("{\"inlineData\":{\"mimeType\":\"audio/wav\",\"data\":\"AA\"}}"), "" },
{ "video", C, G, NULL, TALK("{\"type\":\"video_url\",\"video_url\":{\"url\":\"https://x.example/v\"}}"), NULL, "messages[0].content[0].video_url" },
{ "file id", C, G, NULL, TALK("{\"type\":\"file\",\"file\":{\"file_id\":\"file-1\"}}"), NULL, "messages[0].content[0].file.file_id" },
{ "refusal", C, G, NULL, "\"messages\":[" U ",{\"role\":\"assistant\",\"content\":null,\"refusal\":\"no\"}," U "]",
  "\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]},{\"role\":\"model\",\"parts\":[{\"text\":\"no\"}]},{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}]", "refusal" },
{ "prefill", M, G, NULL, "\"messages\":[" U ",{\"role\":\"assistant\",\"content\":\"I\"}]", "\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]},{\"role\":\"model\",\"parts\":[{\"text\":\"I\"}]}]", "prefill" },
{ "cache mark", M, G, NULL, TALK("{\"type\":\"text\",\"text\":\"a\",\"cache_control\":{\"type\":\"ephemeral\"}}"), SAYS("{\"text\":\"a\"}"), "cache_control" },

/* tools */
{ "tool", C, G, NULL, CU TOOL, GU DECLARED, "" },
{ "tool without parameters", C, G, NULL, CU ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"now\",\"description\":\"d\"}}]", GU ",\"tools\":[{\"functionDeclarations\":[{\"name\":\"now\",\"description\":\"d\"}]}]", "" },
{ "tool M", M, G, NULL, "\"messages\":[" U "],\"tools\":[{\"name\":\"f\",\"input_schema\":{\"type\":\"object\",\"additionalProperties\":false}}]", GU DECLARED, "" },
{ "strict", C, G, NULL, CU ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"additionalProperties\":false},\"strict\":true}}]", GU DECLARED MODE("VALIDATED"), "strict" },
{ "choice auto", C, G, NULL, CU TOOL ",\"tool_choice\":\"auto\"", GU DECLARED MODE("AUTO"), "" },
{ "choice none", C, G, NULL, CU TOOL ",\"tool_choice\":\"none\"", GU DECLARED MODE("NONE"), "" },
{ "choice required", C, G, NULL, CU TOOL ",\"tool_choice\":\"required\"", GU DECLARED MODE("ANY"), "" },
{ "choice any M", M, G, NULL, "\"messages\":[" U "],\"tools\":[{\"name\":\"f\",\"input_schema\":{\"type\":\"object\",\"additionalProperties\":false}}],\"tool_choice\":{\"type\":\"any\"}", GU DECLARED MODE("ANY"), "" },
{ "choice of one", C, G, NULL, CU TOOL ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}", GU DECLARED ",\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"ANY\",\"allowedFunctionNames\":[\"f\"]}}", "" },
{ "allowed tools", C, G, NULL, CU ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a\"}},{\"type\":\"function\",\"function\":{\"name\":\"b\"}}],\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":{"
  "\"mode\":\"required\",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"b\"}}]}}",
  GU ",\"tools\":[{\"functionDeclarations\":[{\"name\":\"a\"},{\"name\":\"b\"}]}],\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"ANY\",\"allowedFunctionNames\":[\"b\"]}}", "" },
{ "allowed tools, none needed", C, G, NULL, CU ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a\"}},{\"type\":\"function\",\"function\":{\"name\":\"b\"}}],\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":{"
  "\"mode\":\"auto\",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"b\"}}]}}",
  GU ",\"tools\":[{\"functionDeclarations\":[{\"name\":\"a\"},{\"name\":\"b\"}]}],\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"VALIDATED\",\"allowedFunctionNames\":[\"b\"]}}", "" },
{ "one call at a time", C, G, NULL, CU TOOL ",\"parallel_tool_calls\":false", NULL, "parallel_tool_calls" },
{ "custom tool", C, G, NULL, CU ",\"tools\":[{\"type\":\"custom\",\"custom\":{\"name\":\"sql\"}}]", "\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}],\"tools\":[{\"functionDeclarations\":[{\"name\":\"sql\",\"parametersJsonSchema\":{\"type\":\"object\",\"properties\":{\"input\":{\"type\":\"string\"}},\"required\":[\"input\"],\"additionalProperties\":false}}]}]", "custom" },
{ "hosted tool", C, G, NULL, CU ",\"tools\":[{\"type\":\"web_search\"}]", NULL, "tools[0].type" },
{ "call and result", C, G, THREE, "\"messages\":[" U ",{\"role\":\"assistant\",\"content\":\"so\",\"tool_calls\":[" CALL("a", "f", "{\\\"n\\\":12345678901234567890}") "," CALL("b", "g", "") "]},"
  "{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"3\"},{\"role\":\"tool\",\"tool_call_id\":\"b\",\"content\":[{\"type\":\"text\",\"text\":\"x\"},{\"type\":\"text\",\"text\":\"y\"}]}," U "]",
  "\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]},{\"role\":\"model\",\"parts\":[{\"text\":\"so\"},{\"functionCall\":{\"id\":\"a\",\"name\":\"f\",\"args\":{\"n\":12345678901234567890}}" STAND_IN "},"
  "{\"functionCall\":{\"id\":\"b\",\"name\":\"g\",\"args\":{}}}]},{\"role\":\"user\",\"parts\":[{\"functionResponse\":{\"id\":\"a\",\"name\":\"f\",\"response\":{\"output\":\"3\"}}},"
  "{\"functionResponse\":{\"id\":\"b\",\"name\":\"g\",\"response\":{\"output\":\"x\\ny\"}}},{\"text\":\"hi\"}]}]", "" },
{ "call of an older model", C, G, "gemini-2.5-pro", "\"messages\":[" U ",{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[" CALL("a", "f", "{}") "]},{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"\"}]",
  "\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]},{\"role\":\"model\",\"parts\":[{\"functionCall\":{\"id\":\"a\",\"name\":\"f\",\"args\":{}}}]},"
  "{\"role\":\"user\",\"parts\":[{\"functionResponse\":{\"id\":\"a\",\"name\":\"f\",\"response\":{\"output\":\"\"}}}]}]", "" },
{ "the same id twice", C, G, "gemini-2.5-pro", "\"messages\":[" U ",{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[" CALL("a", "f", "{}") "]},{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"1\"},"
  "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[" CALL("a", "g", "{}") "]},{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"2\"}]",
  "\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]},{\"role\":\"model\",\"parts\":[{\"functionCall\":{\"id\":\"a\",\"name\":\"f\",\"args\":{}}}]},"
  "{\"role\":\"user\",\"parts\":[{\"functionResponse\":{\"id\":\"a\",\"name\":\"f\",\"response\":{\"output\":\"1\"}}}]},{\"role\":\"model\",\"parts\":[{\"functionCall\":{\"id\":\"a\",\"name\":\"g\",\"args\":{}}}]},"
  "{\"role\":\"user\",\"parts\":[{\"functionResponse\":{\"id\":\"a\",\"name\":\"g\",\"response\":{\"output\":\"2\"}}}]}]", "" },
{ "arguments that are no JSON", C, G, NULL, "\"messages\":[" U ",{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[" CALL("a", "f", "{broken") "]}," U "]", NULL, "messages[1].tool_calls[0].function.arguments" },
{ "result of no call", C, G, NULL, "\"messages\":[" U ",{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"1\"}]", NULL, "messages[1]" },
{ "result that failed, with an image", M, G, THREE, "\"messages\":[" U ",{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\",\"input\":{}}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\","
  "\"tool_use_id\":\"a\",\"is_error\":true,\"content\":[{\"type\":\"text\",\"text\":\"no\"},{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\"iV\"}}]}]}]",
  "\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]},{\"role\":\"model\",\"parts\":[{\"functionCall\":{\"id\":\"a\",\"name\":\"f\",\"args\":{}}" STAND_IN "}]},{\"role\":\"user\",\"parts\":[{\"functionResponse\":{"
  "\"id\":\"a\",\"name\":\"f\",\"response\":{\"error\":\"no\"},\"parts\":[{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"iV\"}}]}}]}]", "" },
{ "image of a result, older model", M, G, "gemini-2.5-flash", "\"messages\":[" U ",{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\",\"input\":{}}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\","
  "\"tool_use_id\":\"a\",\"content\":[{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\"iV\"}}]}]}]",
  "\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]},{\"role\":\"model\",\"parts\":[{\"functionCall\":{\"id\":\"a\",\"name\":\"f\",\"args\":{}}}]},{\"role\":\"user\",\"parts\":[{\"functionResponse\":{"
  "\"id\":\"a\",\"name\":\"f\",\"response\":{\"output\":\"\"}}},{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"iV\"}}]}]", "image" },

/* thinking and its signatures */
{ "signatures come home, M", M, G, THREE, "\"messages\":[" U ",{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"weir-gemini-thought:\"},{\"type\":\"text\",\"text\":\"so\"},"
  "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"weir-gemini-text:VA==\"},{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"weir-gemini-call:Qw==\"},{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\",\"input\":{}},"
  "{\"type\":\"tool_use\",\"id\":\"b\",\"name\":\"f\",\"input\":{}}]}," U "]",
  "\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]},{\"role\":\"model\",\"parts\":[{\"text\":\"hm\",\"thought\":true},{\"text\":\"so\",\"thoughtSignature\":\"VA==\"},"
  "{\"functionCall\":{\"id\":\"a\",\"name\":\"f\",\"args\":{}},\"thoughtSignature\":\"Qw==\"},{\"functionCall\":{\"id\":\"b\",\"name\":\"f\",\"args\":{}}}]},{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}]", "" },
{ "signatures come home, C", C, G, THREE, "\"messages\":[" U ",{\"role\":\"assistant\",\"content\":null,\"reasoning_content\":\"hm\",\"tool_calls\":[" CALL("a", "f", "{}") "],\"weir\":{\"thinking\":["
  "{\"index\":0,\"type\":\"thinking\",\"signature\":\"weir-gemini-thought:VA==\",\"bytes\":2},{\"index\":1,\"type\":\"thinking\",\"signature\":\"weir-gemini-call:Qw==\",\"bytes\":0}]}}," U "]",
  "\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]},{\"role\":\"model\",\"parts\":[{\"text\":\"hm\",\"thought\":true,\"thoughtSignature\":\"VA==\"},"
  "{\"functionCall\":{\"id\":\"a\",\"name\":\"f\",\"args\":{}},\"thoughtSignature\":\"Qw==\"}]},{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}]", "" },
{ "thinking of another provider", M, G, THREE, "\"messages\":[" U ",{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"c2ln\"},{\"type\":\"redacted_thinking\",\"data\":\"AA\"},{\"type\":\"text\",\"text\":\"a\"}]}," U "]",
  "\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]},{\"role\":\"model\",\"parts\":[{\"text\":\"a\"}]},{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}]", "thinking" },
{ "Gemini's signature elsewhere", C, M, NULL, "\"max_tokens\":5,\"messages\":[" U ",{\"role\":\"assistant\",\"content\":\"a\",\"weir\":{\"thinking\":[{\"index\":0,\"type\":\"thinking\",\"signature\":\"weir-gemini-text:VA==\",\"bytes\":0}]}}," U "]",
  "\"max_tokens\":5,\"messages\":[" U ",{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}," U "]", "thinking" },
{ "effort as a budget", C, G, "gemini-2.5-flash", CU ",\"reasoning_effort\":\"medium\"", GU CONFIG("\"thinkingConfig\":{\"thinkingBudget\":8192,\"includeThoughts\":true}"), "reasoning_effort" },
{ "effort as a level", C, G, THREE, CU ",\"reasoning_effort\":\"minimal\"", GU CONFIG("\"thinkingConfig\":{\"thinkingLevel\":\"MINIMAL\",\"includeThoughts\":true}"), "reasoning_effort" },
{ "effort max", C, G, THREE, CU ",\"reasoning_effort\":\"max\"", GU CONFIG("\"thinkingConfig\":{\"thinkingLevel\":\"HIGH\",\"includeThoughts\":true}"), "reasoning_effort" },
{ "effort none", C, G, "gemini-2.5-flash", CU ",\"reasoning_effort\":\"none\"", GU CONFIG("\"thinkingConfig\":{\"thinkingBudget\":0}"), "" },
{ "effort none that cannot be", C, G, "gemini-3-pro", CU ",\"reasoning_effort\":\"none\"", GU CONFIG("\"thinkingConfig\":{\"thinkingLevel\":\"LOW\"}"), "reasoning_effort" },
{ "effort of a model that cannot think", C, G, "gemini-2.0-flash", CU ",\"reasoning_effort\":\"low\"", GU, "reasoning_effort" },
{ "budget", M, G, "gemini-2.5-pro", MU ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":3000}", GU CONFIG("\"maxOutputTokens\":5,\"thinkingConfig\":{\"thinkingBudget\":3000,\"includeThoughts\":true}"), "" },
{ "budget too large", M, G, "gemini-2.5-flash", MU ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":60000}", GU CONFIG("\"maxOutputTokens\":5,\"thinkingConfig\":{\"thinkingBudget\":24576,\"includeThoughts\":true}"), "reasoning_effort" },
{ "budget as a level", M, G, THREE, MU ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":3000}", GU CONFIG("\"maxOutputTokens\":5,\"thinkingConfig\":{\"thinkingLevel\":\"LOW\",\"includeThoughts\":true}"), "reasoning_effort" },

/* the rest */
{ "numbers", C, G, NULL, CU ",\"max_completion_tokens\":9,\"temperature\":1.50,\"top_p\":0.9,\"seed\":7,\"presence_penalty\":0.5,\"frequency_penalty\":-1,\"stop\":\"END\"",
  GU CONFIG("\"maxOutputTokens\":9,\"temperature\":1.50,\"topP\":0.9,\"seed\":7,\"presencePenalty\":0.5,\"frequencyPenalty\":-1,\"stopSequences\":[\"END\"]"), "" },
{ "numbers M", M, G, NULL, MU ",\"temperature\":0.5,\"top_k\":40,\"stop_sequences\":[\"a\",\"b\"]", GU CONFIG("\"maxOutputTokens\":5,\"temperature\":0.5,\"topK\":40,\"stopSequences\":[\"a\",\"b\"]"), "" },
{ "seed too large", C, G, NULL, CU ",\"seed\":12345678901", GU, "seed" },
{ "six stops", M, G, NULL, MU ",\"stop_sequences\":[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\"]", NULL, "stop" },
{ "json", C, G, NULL, CU ",\"response_format\":{\"type\":\"json_object\"}", GU CONFIG("\"responseMimeType\":\"application/json\""), "" },
{ "schema", C, G, NULL, CU ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":{\"type\":\"object\",\"additionalProperties\":false},\"strict\":true}}",
  GU CONFIG("\"responseMimeType\":\"application/json\",\"responseJsonSchema\":{\"type\":\"object\",\"additionalProperties\":false}"), "" },
{ "schema that is not strict", C, G, NULL, CU ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":{}}}", GU CONFIG("\"responseMimeType\":\"application/json\",\"responseJsonSchema\":{}"), "strict" },
{ "schema M", M, G, NULL, MU ",\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":{}}}", GU CONFIG("\"maxOutputTokens\":5,\"responseMimeType\":\"application/json\",\"responseJsonSchema\":{}"), "" },
{ "user", C, G, NULL, CU ",\"user\":\"u\"", GU, "user" },
{ "user M", M, G, NULL, "\"messages\":[" U "],\"metadata\":{\"user_id\":\"u\"}", GU, "user_id" },
{ "tier", C, G, NULL, CU ",\"service_tier\":\"flex\"", GU ",\"serviceTier\":\"flex\"", "service_tier" },
{ "tier default", C, G, NULL, CU ",\"service_tier\":\"default\"", GU ",\"serviceTier\":\"standard\"", "" },
{ "store and metadata", C, G, NULL, CU ",\"store\":true,\"metadata\":{\"a\":\"b\"}", GU, "store, metadata" },
{ "several answers", C, G, NULL, CU ",\"n\":2", NULL, "n" },
{ "logprobs", C, G, NULL, CU ",\"logprobs\":true", NULL, "logprobs" },
{ "logit bias", C, G, NULL, CU ",\"logit_bias\":{\"5\":1}", NULL, "logit_bias" },
{ "audio out", C, G, NULL, CU ",\"modalities\":[\"text\",\"audio\"]", NULL, "modalities" },
{ "web search", C, G, NULL, CU ",\"web_search_options\":{}", NULL, "web_search_options" },
{ "unknown", C, G, NULL, CU ",\"what_is_this\":1", GU, "what_is_this" },
{ "stream stands in the path", C, G, NULL, CU ",\"stream\":true,\"stream_options\":{\"include_usage\":true}", GU, "" },
{ "half a character", C, G, NULL, "\"messages\":[{\"role\":\"user\",\"content\":\"\\ud800\"}]", NULL, "messages" },
