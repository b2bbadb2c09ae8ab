/* view.h: messages and tools in one shape, whatever dialect the client speaks, and back. The shape is chat's: messages with role (system,
   user, assistant, tool), content (a string, or parts of which texts are { type = "text", text }), tool_calls and tool_call_id; tools
   with a function. What has no word in it stands there as the dialect has it. What was not changed goes back byte for byte. Pure. */
#ifndef WEIR_VIEW_H
#define WEIR_VIEW_H

#include "weir/dialect.h"

enum { VIEW_INSTRUCTIONS = -1 };
struct view_item {
  struct span text;                   /* JSON: made in the arena, or in place */
  int from;                           /* place of the item in the body that it was made of, or VIEW_INSTRUCTIONS */
};
struct view { struct view_item *items; size_t count; };
/* False: the body's own value is in that shape already (chat), or in none (a prompt of token numbers, what is to be
   embedded). */
bool view_messages(const struct operation_info *o, const struct json_member *members, size_t count, struct arena *a, struct view *out);
bool view_tools(const struct operation_info *o, struct json tools, struct arena *a, struct view *out);

/* What a policy made of it. */
struct view_new {
  struct json value;                  /* valid JSON */
  int same;                           /* the item of the view that it equals; -1: it is new, or was changed */
};
struct view_written {
  struct span list;                   /* of the member that request_member calls messages */
  bool instructions_set;
  struct span instructions;           /* p NULL: there are none any more */
};
/* false: *why says what this dialect cannot say. */
bool view_messages_write(const struct operation_info *o, const struct json_member *members, size_t count, const struct view *was, const struct view_new *now,
                         size_t n, struct arena *a, struct view_written *out, const char **why);
struct span view_tools_write(const struct operation_info *o, struct json was, const struct view_new *now, size_t n, struct arena *a);

#endif
