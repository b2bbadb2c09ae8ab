#include "inside.h"

void tls_chain_memory_init(struct chain_memory *m) {
  *m = (struct chain_memory){ .next = 0 };
  pthread_mutex_init(&m->lock, NULL);
}

void tls_chain_memory_end(struct chain_memory *m) {
  for (unsigned i = 0; i < CHAINS_KEPT; i++) mem_free(m->kept[i]);
  pthread_mutex_destroy(&m->lock);
}

static void chain_key_move(br_x509_pkey *key, unsigned char *bytes) {
  if (key->key_type == BR_KEYTYPE_RSA) {
    key->key.rsa.n = bytes;
    key->key.rsa.e = bytes + key->key.rsa.nlen;
  } else {
    key->key.ec.q = bytes;
  }
}

void tls_chain_key_copy(struct chain_proof *to, const br_x509_pkey *key) {
  to->key = *key;
  if (key->key_type == BR_KEYTYPE_RSA) {
    require(key->key.rsa.nlen + key->key.rsa.elen <= sizeof to->bytes);
    memcpy(to->bytes, key->key.rsa.n, key->key.rsa.nlen);
    memcpy(to->bytes + key->key.rsa.nlen, key->key.rsa.e, key->key.rsa.elen);
  } else {
    require(key->key.ec.qlen <= sizeof to->bytes);
    memcpy(to->bytes, key->key.ec.q, key->key.ec.qlen);
  }
  chain_key_move(&to->key, to->bytes);
}

bool tls_chain_known(struct chain_memory *m, const unsigned char hash[32], int64_t now, struct chain_proof *out) {
  bool found = false;
  pthread_mutex_lock(&m->lock);
  for (unsigned i = 0; i < CHAINS_KEPT && m->kept[i] && !found; i++) {
    const struct chain_proof *p = m->kept[i];
    if (memcmp(p->hash, hash, sizeof p->hash) || now < p->from || now > p->until) continue;
    *out = *p;
    chain_key_move(&out->key, out->bytes);
    found = true;
  }
  pthread_mutex_unlock(&m->lock);
  return found;
}

void tls_chain_remember(struct chain_memory *m, const struct chain_proof *proof) {
  pthread_mutex_lock(&m->lock);
  unsigned at = m->next;
  for (unsigned i = 0; i < CHAINS_KEPT && m->kept[i]; i++)     /* an outlived proof makes room for its successor */
    if (!memcmp(m->kept[i]->hash, proof->hash, sizeof proof->hash)) at = i;
  if (at == m->next) m->next = (m->next + 1) % CHAINS_KEPT;
  if (!m->kept[at]) m->kept[at] = mem_alloc(sizeof *proof);
  *m->kept[at] = *proof;
  chain_key_move(&m->kept[at]->key, m->kept[at]->bytes);
  pthread_mutex_unlock(&m->lock);
}
