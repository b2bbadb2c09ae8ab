/* What it costs to say one dialect in another, beside reading it alone, which is what pass-through does: µs of processor time for 100 KB of
   a request, ns for an event of a stream. Of the runs within a time the least, so that a busy machine says nearly the same as a quiet one.
   bench/translate [seconds for each figure]; prints tables. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "../tests/frames.h"
#include "weir/translate.h"

enum { TURNS = 66, TOOLS = 60, WORDS = 150, CALLS = 2, PIECES = 40, MEMBERS = 128 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void wrong(const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why ? why : "?");
  exit(1);
}

/* Appends; ' stands for a quotation mark, so that JSON can be read here. */
__attribute__((format(printf, 2, 3))) static void add(struct buf *b, const char *fmt, ...) {
  size_t had = buf_size(b);
  va_list args;
  va_start(args, fmt);
  buf_vprintf(b, fmt, args);
  va_end(args);
  for (size_t i = b->at + had; i < b->end; i++)
    if (b->p[i] == '\'') b->p[i] = '"';
}

/* ---- what an agent has said and heard: a question, then turns of two calls at once and their results; 200 messages in chat */
#define SYSTEM "You work on a program in C. Read before you change, say what you do and why, and run the tests behind each change. "
#define TEXT "I look at the part that measures the flow (step %d) and at its tests, then I change both and run them again."
#define ARGUMENTS "{'path':'src/flow/part_%d.c','pattern':'flow_[a-z]+\\\\(','context':3,'note':'über dem Wehr, %d'}"
#define RESULT "  if (flow->level < limit) return \"too low\";\t/* line %d of a file */\n"
#define DESCRIPTION "Tool %d: reads a part of a file, or looks for a pattern in it, and gives the lines with their numbers."
#define SCHEMA "{'type':'object','properties':{'path':{'type':'string','description':'below the root of the project'},'pattern':{'type':'string'}," \
  "'context':{'type':'integer','minimum':0,'maximum':50},'note':{'type':'string','enum':['a','b','c']}},'required':['path'],'additionalProperties':false}"

static void add_result(struct buf *b, int turn) {
  struct buf text = { 0 };
  for (int i = 0; i < 6; i++) buf_printf(&text, RESULT, turn * 10 + i);
  json_write_string(b, buf_span(&text));
  buf_free(&text);
}

static void add_system(struct buf *b) {
  buf_byte(b, '"');
  for (int i = 0; i < 20; i++) buf_add(b, SPAN(SYSTEM));
  buf_byte(b, '"');
}

static void request_chat(struct buf *b) {
  struct buf arguments = { 0 };
  add(b, "{'model':'small','max_completion_tokens':4096,'messages':[{'role':'system','content':");
  add_system(b);
  add(b, "},{'role':'user','content':'Make the flow right.'}");
  for (int turn = 0; turn < TURNS; turn++) {
    add(b, ",{'role':'assistant','content':'" TEXT "','tool_calls':[", turn);
    for (int i = 0; i < CALLS; i++) {
      buf_clear(&arguments);
      add(&arguments, ARGUMENTS, turn, i);
      add(b, "%s{'id':'call_%d_%d','type':'function','function':{'name':'tool_%d','arguments':", i ? "," : "", turn, i, turn % TOOLS);
      json_write_string(b, buf_span(&arguments));
      add(b, "}}");
    }
    add(b, "]}");
    for (int i = 0; i < CALLS; i++) {
      add(b, ",{'role':'tool','tool_call_id':'call_%d_%d','content':", turn, i);
      add_result(b, turn);
      add(b, "}");
    }
  }
  add(b, "],'tools':[");
  for (int i = 0; i < TOOLS; i++) add(b, "%s{'type':'function','function':{'name':'tool_%d','description':'" DESCRIPTION "','parameters':" SCHEMA "}}", i ? "," : "", i, i);
  add(b, "],'tool_choice':'auto','stream':true}");
  buf_free(&arguments);
}

static void request_messages(struct buf *b) {
  add(b, "{'model':'small','max_tokens':4096,'system':");
  add_system(b);
  add(b, ",'messages':[{'role':'user','content':'Make the flow right.'}");
  for (int turn = 0; turn < TURNS; turn++) {
    add(b, ",{'role':'assistant','content':[{'type':'text','text':'" TEXT "'}", turn);
    for (int i = 0; i < CALLS; i++) add(b, ",{'type':'tool_use','id':'call_%d_%d','name':'tool_%d','input':" ARGUMENTS "}", turn, i, turn % TOOLS, turn, i);
    add(b, "]},{'role':'user','content':[");
    for (int i = 0; i < CALLS; i++) {
      add(b, "%s{'type':'tool_result','tool_use_id':'call_%d_%d','content':", i ? "," : "", turn, i);
      add_result(b, turn);
      add(b, "}");
    }
    add(b, "]}");
  }
  add(b, "],'tools':[");
  for (int i = 0; i < TOOLS; i++) add(b, "%s{'name':'tool_%d','description':'" DESCRIPTION "','input_schema':" SCHEMA "}", i ? "," : "", i, i);
  add(b, "],'tool_choice':{'type':'auto'},'stream':true}");
}

/* ---- its answer: words, then calls whose arguments come in pieces (in gemini each call comes whole) */
#define CHUNK "data: {'id':'chatcmpl-1','object':'chat.completion.chunk','created':1700000000,'model':'small','choices':[{'index':0,'delta':%s,'finish_reason':%s}]}\n\n"

static void stream_chat(struct buf *b) {
  char delta[200];
  add(b, CHUNK, "{'role':'assistant','content':''}", "null");
  for (int i = 0; i < WORDS; i++) add(b, CHUNK, "{'content':' water'}", "null");
  for (int c = 0; c < CALLS; c++) {
    snprintf(delta, sizeof delta, "{'tool_calls':[{'index':%d,'id':'call_%d','type':'function','function':{'name':'tool_%d','arguments':''}}]}", c, c, c);
    add(b, CHUNK, delta, "null");
    for (int i = 0; i < PIECES; i++) {
      snprintf(delta, sizeof delta, "{'tool_calls':[{'index':%d,'function':{'arguments':'%s\\'k%d\\':%d%s'}}]}", c, i ? "," : "{", i, i, i + 1 < PIECES ? "" : "}");
      add(b, CHUNK, delta, "null");
    }
  }
  add(b, CHUNK, "{}", "'tool_calls'");
  add(b, "data: {'id':'chatcmpl-1','object':'chat.completion.chunk','created':1700000000,'model':'small','choices':[],"
         "'usage':{'prompt_tokens':25000,'completion_tokens':300,'total_tokens':25300}}\n\ndata: [DONE]\n\n");
}

#define EVENT(name) "event: " name "\ndata: {'type':'" name "',"
#define BLOCK(index, block) EVENT("content_block_start") "'index':" index ",'content_block':" block "}\n\n"
#define DELTA(index, delta) EVENT("content_block_delta") "'index':" index ",'delta':" delta "}\n\n"

static void stream_messages(struct buf *b) {
  add(b, EVENT("message_start") "'message':{'id':'msg_1','type':'message','role':'assistant','model':'small','content':[],'stop_reason':null,'stop_sequence':null,"
         "'usage':{'input_tokens':25000,'output_tokens':1}}}\n\n" BLOCK("0", "{'type':'text','text':''}"));
  for (int i = 0; i < WORDS; i++) add(b, DELTA("0", "{'type':'text_delta','text':' water'}"));
  add(b, EVENT("content_block_stop") "'index':0}\n\n");
  for (int c = 1; c <= CALLS; c++) {
    add(b, BLOCK("%d", "{'type':'tool_use','id':'toolu_%d','name':'tool_%d','input':{}}"), c, c, c);
    for (int i = 0; i < PIECES; i++) add(b, DELTA("%d", "{'type':'input_json_delta','partial_json':'%s\\'k%d\\':%d%s'}"), c, i ? "," : "{", i, i, i + 1 < PIECES ? "" : "}");
    add(b, EVENT("content_block_stop") "'index':%d}\n\n", c);
  }
  add(b, EVENT("message_delta") "'delta':{'stop_reason':'tool_use','stop_sequence':null},'usage':{'output_tokens':300}}\n\n" "event: message_stop\ndata: {'type':'message_stop'}\n\n");
}

#define GEMINI(parts, more) "data: {'candidates':[{'content':{'parts':[" parts "],'role':'model'}" more ",'index':0}],'usageMetadata':{'promptTokenCount':25000," \
  "'candidatesTokenCount':300,'totalTokenCount':25300},'modelVersion':'small','responseId':'r1'}\r\n\r\n"

static void stream_gemini(struct buf *b) {
  for (int i = 0; i < WORDS; i++) add(b, GEMINI("{'text':' water'}", ""));
  for (int c = 0; c < CALLS; c++) {
    struct buf arguments = { 0 };
    for (int i = 0; i < PIECES; i++) buf_printf(&arguments, "%s'k%d':%d", i ? "," : "", i, i);
    buf_byte(&arguments, 0);
    add(b, GEMINI("{'functionCall':{'name':'tool_%d','args':{%s}}}", ""), c, arguments.p);
    buf_free(&arguments);
  }
  add(b, GEMINI("{'text':''}", ",'finishReason':'STOP'"));
}

static void stream_responses(struct buf *b) {
  struct buf text = { 0 }, arguments = { 0 };
  int n = 0;
  for (int i = 0; i < WORDS; i++) buf_add(&text, SPAN(" water"));
  for (int i = 0; i < PIECES; i++) add(&arguments, "%s\\'k%d\\':%d", i ? "," : "{", i, i);
  buf_add(&arguments, SPAN("}"));
  buf_byte(&text, 0), buf_byte(&arguments, 0);
  add(b, EVENT("response.created") "'sequence_number':%d,'response':{'id':'resp_1','object':'response','status':'in_progress','model':'small','output':[]}}\n\n", n++);
  add(b, EVENT("response.output_item.added") "'sequence_number':%d,'output_index':0,'item':{'id':'m1','type':'message','status':'in_progress','role':'assistant','content':[]}}\n\n", n++);
  for (int i = 0; i < WORDS; i++) add(b, EVENT("response.output_text.delta") "'sequence_number':%d,'item_id':'m1','output_index':0,'content_index':0,'delta':' water'}\n\n", n++);
  add(b, EVENT("response.output_item.done") "'sequence_number':%d,'output_index':0,'item':{'id':'m1','type':'message','status':'completed','role':'assistant','content':"
         "[{'type':'output_text','text':'%s','annotations':[]}]}}\n\n", n++, text.p);
  for (int c = 1; c <= CALLS; c++) {
#define ITEM "'output_index':%d,'item':{'id':'f%d','type':'function_call','call_id':'call_%d','name':'tool_%d','arguments':"
    add(b, EVENT("response.output_item.added") "'sequence_number':%d," ITEM "'','status':'in_progress'}}\n\n", n++, c, c, c, c);
    for (int i = 0; i < PIECES; i++)
      add(b, EVENT("response.function_call_arguments.delta") "'sequence_number':%d,'item_id':'f%d','output_index':%d,'delta':'%s\\'k%d\\':%d%s'}\n\n", n++, c, c, i ? "," : "{", i, i,
          i + 1 < PIECES ? "" : "}");
    add(b, EVENT("response.output_item.done") "'sequence_number':%d," ITEM "'%s','status':'completed'}}\n\n", n++, c, c, c, c, arguments.p);
#undef ITEM
  }
  add(b, EVENT("response.completed") "'sequence_number':%d,'response':{'id':'resp_1','object':'response','status':'completed','model':'small','output':[],"
         "'usage':{'input_tokens':25000,'output_tokens':300,'total_tokens':25300}}}\n\n", n);
  buf_free(&text), buf_free(&arguments);
}

/* An event in AWS's frame, with the padding that Bedrock puts into them. */
__attribute__((format(printf, 3, 4))) static void framed(struct buf *b, const char *name, const char *fmt, ...) {
  struct buf head = { 0 }, payload = { 0 };
  va_list args;
  va_start(args, fmt);
  buf_vprintf(&payload, fmt, args);
  va_end(args);
  add(&payload, ",'p':'abcdefghijklmn'}");
  for (size_t i = payload.at; i < payload.end; i++)
    if (payload.p[i] == '\'') payload.p[i] = '"';
  add_header(&head, ":event-type", span_cstr(name));
  add_header(&head, ":content-type", SPAN("application/json"));
  add_header(&head, ":message-type", SPAN("event"));
  add_message(b, buf_span(&head), buf_span(&payload));
  buf_free(&head), buf_free(&payload);
}

static void stream_converse(struct buf *b) {
  framed(b, "messageStart", "{'role':'assistant'");
  for (int i = 0; i < WORDS; i++) framed(b, "contentBlockDelta", "{'contentBlockIndex':0,'delta':{'text':' water'}");
  framed(b, "contentBlockStop", "{'contentBlockIndex':0");
  for (int c = 1; c <= CALLS; c++) {
    framed(b, "contentBlockStart", "{'contentBlockIndex':%d,'start':{'toolUse':{'toolUseId':'tooluse_%d','name':'tool_%d'}}", c, c, c);
    for (int i = 0; i < PIECES; i++)
      framed(b, "contentBlockDelta", "{'contentBlockIndex':%d,'delta':{'toolUse':{'input':'%s\\'k%d\\':%d%s'}}", c, i ? "," : "{", i, i, i + 1 < PIECES ? "" : "}");
    framed(b, "contentBlockStop", "{'contentBlockIndex':%d", c);
  }
  framed(b, "messageStop", "{'stopReason':'tool_use'");
  framed(b, "metadata", "{'usage':{'inputTokens':25000,'outputTokens':300,'totalTokens':25300},'metrics':{'latencyMs':9}");
}

/* ---- what is measured */
struct job {
  const struct operation_info *client, *provider;
  struct span bytes;
  bool translate, read;                                  /* else it is read alone; what came out is read, as the gateway does */
  size_t events;                                         /* told: of the provider's */
};

static void request_once(struct job *j) {
  struct json_member members[MEMBERS];
  struct request_facts facts;
  struct json_error e;
  const char *why = NULL;
  uint64_t keys;
  size_t n;
  if (!j->translate) {
    if (!json_read_object_keys(j->bytes, members, MEMBERS, &n, &e, &keys)) wrong("request", e.why);
    if (!request_read_keys(j->client, members, n, keys, &facts, &why)) wrong("request", why);
    return;
  }
  struct arena a = { 0 };
  struct buf out = { 0 };
  struct translating t = { .arena = &a, .model = SPAN("small"), .provider = SPAN("there"), .max_output = 64000, .reasoning = -1, .stream = true };
  if (!json_read_object(j->bytes, members, MEMBERS, &n, &e)) wrong("request", e.why);
  if (!translate_request(j->client, j->provider, members, n, &t, &out)) wrong("request", arena_cstr(&a, t.why));
  buf_free(&out);
  arena_end(&a);
}

struct reading { const struct operation_info *o; struct event_source source; struct event_state state; struct arena scratch; };

/* Reads the event and gives what it took of the bytes; 0: there is none. */
static size_t read_one(struct reading *r, struct span left, struct sse_event *e) {
  struct event_facts facts;
  struct step s = event_next(r->o, &r->source, left, &r->scratch, e);
  if (s.kind != STEP_EVENT) return 0;
  event_read(r->o, &r->state, e, &r->scratch, &facts);
  if (facts.class == EVENT_ERROR) wrong("stream", "an event is none");
  return s.used;
}

static void read_out(struct reading *r, struct buf *out) {
  struct sse_event e;
  for (size_t n; (n = read_one(r, buf_span(out), &e));) buf_consume(out, n), arena_reset(&r->scratch);
}

static void stream_once(struct job *j) {
  struct reading in = { .o = j->provider }, back = { .o = j->client };
  struct translate_names names = { .id = SPAN("req_1"), .model = SPAN("small"), .provider = SPAN("there"), .created = 1700000000, .usage = true };
  struct translation *t = j->translate ? translation_new(j->provider, j->client, &names, 1 << 26) : NULL;
  struct buf out = { 0 };
  struct sse_event e;
  const char *why = NULL;
  struct span left = j->bytes;
  j->events = 0;
  for (size_t n; (n = read_one(&in, left, &e)); j->events++) {
    if (t && translation_event(t, &e, &out, &why)) wrong("stream", why);
    if (j->read) read_out(&back, &out);
    else buf_clear(&out);
    arena_reset(&in.scratch);
    left = span_from(left, n);
  }
  if (left.n || !event_may_end(in.o, &in.state)) wrong("stream", "it has no end");
  if (t && !in.state.terminated && translation_end(t, &out, &why)) wrong("stream", why);
  if (j->read) {
    read_out(&back, &out);
    if (!event_may_end(back.o, &back.state)) wrong("stream", "what came out has no end");
  }
  translation_free(t);
  buf_free(&out);
  arena_end(&in.scratch), arena_end(&back.scratch);
}

/* Seconds that one takes: of runs of about a millisecond the least. */
static double least(void (*once)(struct job *), struct job j, double seconds) {
  double began = now(), best = 1e9;
  int runs = 1;
  once(&j);
  runs += (int)(1e-3 / (now() - began + 1e-9));
  for (double at = began, last; at < began + seconds; at = last) {
    for (int i = 0; i < runs; i++) once(&j);
    last = now();
    if ((last - at) / runs < best) best = (last - at) / runs;
  }
  return best;
}

static const struct { enum operation client, provider; void (*request)(struct buf *), (*stream)(struct buf *); } pairs[] = {
  { OP_CHAT, OP_MESSAGES, request_chat, stream_messages }, { OP_MESSAGES, OP_CHAT, request_messages, stream_chat }, { OP_CHAT, OP_GENERATE, request_chat, stream_gemini },
  { OP_CHAT, OP_RESPONSES, request_chat, stream_responses }, { OP_CHAT, OP_CONVERSE, request_chat, stream_converse },
};

int main(int argc, char **argv) {
  double seconds = argc > 1 ? atof(argv[1]) / 5 : 0.2;
  printf("| request, µs for 100 KB | read alone | translated | in all | KB |\n|---|---:|---:|---:|---:|\n");
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    struct buf b = { 0 };
    pairs[i].request(&b);
    struct job j = { operation_info(pairs[i].client), operation_info(pairs[i].provider), buf_span(&b), false, false, 0 };
    double unit = 1e6 * 100e3 / (double)buf_size(&b), alone = least(request_once, j, seconds) * unit;
    j.translate = true;
    double more = least(request_once, j, seconds) * unit;
    printf("| %s to %s | %.0f | + %.0f | × %.1f | %.0f |\n", dialect_word(j.client->dialect), dialect_word(j.provider->dialect), alone, more, (alone + more) / alone, (double)buf_size(&b) / 1e3);
    buf_free(&b);
  }
  printf("\n| stream, ns for an event | read alone | and translated | and read again | in all | events |\n|---|---:|---:|---:|---:|---:|\n");
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    struct buf b = { 0 };
    pairs[i].stream(&b);
    struct job j = { operation_info(pairs[i].client), operation_info(pairs[i].provider), buf_span(&b), false, false, 0 };
    stream_once(&j);
    double unit = 1e9 / (double)j.events, alone = least(stream_once, j, seconds) * unit;
    j.translate = true;
    double translated = least(stream_once, j, seconds) * unit;
    j.read = true;
    double all = least(stream_once, j, seconds) * unit;
    printf("| %s to %s | %.0f | %.0f | %.0f | × %.1f | %zu |\n", dialect_word(j.provider->dialect), dialect_word(j.client->dialect), alone, translated, all, all / alone, j.events);
    buf_free(&b);
  }
  return 0;
}
