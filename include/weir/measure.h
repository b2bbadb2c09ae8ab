/* measure.h: what a request brings and what it asks of a model, read from its body without a tokenizer. Pure. */
#ifndef WEIR_MEASURE_H
#define WEIR_MEASURE_H

#include "weir/dialect.h"

/* What a model may be able to take or do. The words stand in weir.lua, in provider { models = … }. */
enum ability {
  ABLE_IMAGES, ABLE_PDF, ABLE_AUDIO, ABLE_TOOLS, ABLE_PARALLEL_TOOLS, ABLE_JSON_SCHEMA,
  ABLE_PREFILL,                                          /* goes on with an answer that is begun */
  ABLE_TEMPERATURE,                                      /* takes a temperature other than its own */
  ABLE_COUNT
};
#define ABLE_BIT(a) (1u << (a))
extern const char *const ability_words[ABLE_COUNT];
struct abilities { uint16_t can, cannot; };              /* a bit each; in neither: nobody says */

/* Bits of the abilities without which a model cannot serve it. keys: as json_read_object_keys gave them, or ~0. */
unsigned request_needs(const struct operation_info *o, const struct json_member *members, size_t count, uint64_t keys);

/* About how many tokens there are, by kind of content, as tokenizers of today have it for the usual text. A model's own is known
   from what its provider reports (weir/models.h). */
enum measure_part {
  PART_TEXT,                                             /* letters and spaces */
  PART_SIGNS,                                            /* digits, punctuation */
  PART_OTHER,                                            /* what is not ASCII */
  PART_TOOLS,                                            /* schemas */
  PART_MEDIA,                                            /* pictures, documents, sound */
  PART_FRAME,                                            /* around each message */
  PART_COUNT
};
struct request_measure { double of[PART_COUNT]; };
void request_measure(const struct json_member *members, size_t count, struct request_measure *out);

#endif
