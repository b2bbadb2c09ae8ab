#include "weir/sha256.h"
#include "weir/secret.h"

static const uint32_t first_state[8] = {
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};
static const uint32_t constants[64] = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t x, unsigned n) { return x >> n | x << (32 - n); }

static uint32_t word_at(const unsigned char *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void block_mix(uint32_t state[8], const unsigned char *block) {
  uint32_t w[64], v[8];
  for (int i = 0; i < 16; i++) w[i] = word_at(block + 4 * i);
  for (int i = 16; i < 64; i++) {
    uint32_t a = w[i - 15], b = w[i - 2];
    w[i] = w[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[i - 7] + (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
  }
  memcpy(v, state, sizeof v);
  for (int i = 0; i < 64; i++) {
    uint32_t sum = rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25);
    uint32_t one = v[7] + sum + ((v[4] & v[5]) ^ (~v[4] & v[6])) + constants[i] + w[i];
    sum = rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22);
    uint32_t two = sum + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
    memmove(v + 1, v, 7 * sizeof *v);
    v[4] += one;
    v[0] = one + two;
  }
  for (int i = 0; i < 8; i++) state[i] += v[i];
}

void sha256_init(struct sha256 *s) {
  memcpy(s->state, first_state, sizeof s->state);
  s->size = 0;
}

void sha256_feed(struct sha256 *s, struct span bytes) {
  const unsigned char *p = (const unsigned char *)bytes.p;
  size_t have = s->size % 64, left = bytes.n;
  if (!left) return;
  s->size += bytes.n;
  if (have) {
    size_t n = 64 - have < left ? 64 - have : left;
    memcpy(s->block + have, p, n);
    p += n;
    left -= n;
    if (have + n < 64) return;
    block_mix(s->state, s->block);
  }
  for (; left >= 64; p += 64, left -= 64) block_mix(s->state, p);
  if (left) memcpy(s->block, p, left);
}

void sha256_end(struct sha256 *s, unsigned char out[SHA256_SIZE]) {
  uint64_t bits = s->size * 8;
  size_t have = s->size % 64;
  s->block[have++] = 0x80;
  if (have > 56) {
    memset(s->block + have, 0, 64 - have);
    block_mix(s->state, s->block);
    have = 0;
  }
  memset(s->block + have, 0, 56 - have);
  for (int i = 0; i < 8; i++) s->block[56 + i] = (unsigned char)(bits >> (56 - 8 * i));
  block_mix(s->state, s->block);
  for (int i = 0; i < SHA256_SIZE; i++) out[i] = (unsigned char)(s->state[i / 4] >> (24 - 8 * (i % 4)));
}

void sha256_hmac(struct span key, struct span bytes, unsigned char out[SHA256_SIZE]) {
  unsigned char pad[64] = { 0 };
  struct sha256 s;
  sha256_init(&s);
  if (key.n > sizeof pad) sha256_feed(&s, key), sha256_end(&s, pad);
  else if (key.n) memcpy(pad, key.p, key.n);
  for (size_t i = 0; i < sizeof pad; i++) pad[i] ^= 0x36;
  sha256_init(&s);
  sha256_feed(&s, span_of((const char *)pad, sizeof pad));
  sha256_feed(&s, bytes);
  sha256_end(&s, out);
  for (size_t i = 0; i < sizeof pad; i++) pad[i] ^= 0x36 ^ 0x5c;
  sha256_init(&s);
  sha256_feed(&s, span_of((const char *)pad, sizeof pad));
  sha256_feed(&s, span_of((const char *)out, SHA256_SIZE));
  sha256_end(&s, out);
  secret_wipe(pad, sizeof pad);                    /* it is the key */
  secret_wipe(&s, sizeof s);
}

void sha256_hex(const unsigned char digest[SHA256_SIZE], char out[SHA256_HEX]) {
  static const char digits[] = "0123456789abcdef";
  for (int i = 0; i < SHA256_SIZE; i++) {
    out[2 * i] = digits[digest[i] >> 4];
    out[2 * i + 1] = digits[digest[i] & 15];
  }
  out[2 * SHA256_SIZE] = 0;
}

void sha256_hex_of(struct span bytes, char out[SHA256_HEX]) {
  struct sha256 s;
  unsigned char digest[SHA256_SIZE];
  sha256_init(&s);
  sha256_feed(&s, bytes);
  sha256_end(&s, digest);
  sha256_hex(digest, out);
}
