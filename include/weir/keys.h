/* keys.h: client keys: who may ask, and for what. A key's text is known to its client alone; weir knows its SHA-256,
   finds it by that, and shows neither. Pure but for the last part, which makes keys and their files. */
#ifndef WEIR_KEYS_H
#define WEIR_KEYS_H

#include "weir/http.h"
#include "weir/mem.h"
#include "weir/sha256.h"

enum {
  KEY_LONGEST_NAME = 64,
  KEY_LONGEST = 1024,                 /* bytes of a key's text: longer ones are nobody's */
  KEY_MINTED = 48,                    /* bytes of a text that weir makes: "weir_" and 32 random bytes in base64url */
  KEY_HASH_TEXT = 7 + 64,             /* "sha256:" and hex */
  KEY_UNTIL_TEXT = 20,                /* "2027-01-31T12:00:00Z" */
  KEY_MOST_HASHES = 8,
};
#define KEY_FOREVER INT64_MAX

struct key_hash {
  unsigned char digest[SHA256_SIZE];
  int64_t until;                      /* unix second from which on it is not taken any more; KEY_FOREVER */
};
struct key_tag { struct span name, value; };
struct key {
  struct span name;                   /* key_name_ok */
  struct span team, user;             /* empty: not given */
  struct key_hash *hashes;            /* one, or several while a rotation has its grace */
  size_t hash_count;
  struct span *models;                /* patterns (key_allows); none: every model */
  size_t model_count;
  struct key_tag *tags;               /* by name, bytewise */
  size_t tag_count;
  struct span expires;                /* as written, empty: never */
  int64_t until;                      /* the same as hash.until, for all of its hashes */
  struct span file;                   /* where it stands, for messages */
  unsigned line;
};

/* The keys of a configuration. Only list and count are others' to look at. */
struct key_slot {
  const struct key *key;              /* NULL: free */
  const struct key_hash *hash;
};
struct keys {
  struct key *list;
  size_t count;
  struct key_slot *slots;
  size_t cap;                         /* a power of two, or 0 */
};
/* Builds the slots over list, which stays where it is from now on. A hash that stands twice is found at its first key. */
void keys_index(struct keys *k, struct arena *a);

/* The key that has this hash, be it expired; NULL. */
const struct key *keys_owner(const struct keys *k, const unsigned char digest[SHA256_SIZE]);

/* KEY_NONE: no key was given at all. */
enum key_verdict { KEY_NONE, KEY_UNKNOWN, KEY_EXPIRED, KEY_GOOD };
/* By the whole text. *out is set for KEY_GOOD alone. */
enum key_verdict keys_find(const struct keys *k, struct span text, int64_t now, const struct key **out);
/* Looks where clients put their keys: Authorization: Bearer, x-api-key, x-goog-api-key, api-key, in the order of the
   headers, then ?key= of the target. The first good one counts; without one, the verdict says the most there is. */
enum key_verdict keys_of_request(const struct keys *k, const struct http_head *h, int64_t now, const struct key **out);

/* Whether a model of that name may be asked for: it equals a pattern, or starts with one that ends in '*'. */
bool key_allows(const struct key *k, struct span model);
/* Whether every model of the provider may be: what is passed through unread may name any. */
bool key_allows_provider(const struct key *k, struct span provider);

/* ---- how a key is written; each why is a static text that quotes nothing */
const char *key_name_refused(struct span name);          /* NULL: it is a name */
const char *key_pattern_refused(struct span pattern);
bool key_hash_read(struct span text, unsigned char digest[SHA256_SIZE]);             /* "sha256:" and 64 hex digits */
void key_hash_write(const unsigned char digest[SHA256_SIZE], char out[KEY_HASH_TEXT + 1]);
/* "2027-01-31": to the end of that day (UTC); "2027-01-31T12:00:00Z": to that second. */
bool key_until_read(struct span text, int64_t *until);
void key_until_write(int64_t until, char out[KEY_UNTIL_TEXT + 1]);                   /* until the year 9999 */

/* ---- making keys */
/* A new text and its digest; false when the kernel has no randomness. The caller wipes the text. */
bool key_mint(char text[KEY_MINTED + 1], unsigned char digest[SHA256_SIZE]);
/* The key as a statement of weir.lua. */
void key_write(const struct key *k, struct buf *out);
/* Writes NAME.lua into the folder of weir.lua's keys, whole or not at all: 0640 in a folder that is made 0750, of the
   group of the folder above. false: *why says what failed ("keys/a.lua: Permission denied"), in the arena; *taken,
   when the file is there and replace is false. */
bool key_file_write(struct span folder, struct span name, struct span text, bool replace, struct arena *a,
                    const char **why, bool *taken);
bool key_file_remove(struct span folder, struct span name, struct arena *a, const char **why);
struct span key_file_path(struct span folder, struct span name, struct arena *a);    /* with a NUL behind it */

#endif
