/* sha256.h: SHA-256 (FIPS 180-4), for names of things (generations, client keys), and HMAC of it (RFC 2104), for signatures. No
   allocation. */
#ifndef WEIR_SHA256_H
#define WEIR_SHA256_H

#include "weir/span.h"

enum { SHA256_SIZE = 32, SHA256_HEX = 2 * SHA256_SIZE + 1 };

struct sha256 {
  uint32_t state[8];
  uint64_t size;                      /* bytes fed so far */
  unsigned char block[64];            /* the last size % 64 of them */
};
void sha256_init(struct sha256 *s);
void sha256_feed(struct sha256 *s, struct span bytes);
void sha256_end(struct sha256 *s, unsigned char out[SHA256_SIZE]);   /* s must be initialised anew afterwards */
void sha256_hmac(struct span key, struct span bytes, unsigned char out[SHA256_SIZE]);
/* Lower case, NUL at the end. */
void sha256_hex(const unsigned char digest[SHA256_SIZE], char out[SHA256_HEX]);
void sha256_hex_of(struct span bytes, char out[SHA256_HEX]);         /* the digest of what is there whole, so written */

#endif
