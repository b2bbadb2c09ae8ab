/* certs.h: certificates for the tests of this folder, made anew by the openssl command in a folder that dies with the
   test; or once for all programs of a run, in $WEIR_CERTS, which dies with the run. Without that command the tests say so and skip. */
#ifndef TEST_TLS_CERTS_H
#define TEST_TLS_CERTS_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* issue NAME KEY SIGNER FROM TO EXTENSIONS: NAME.der and NAME.pem, key NAME.key and NAME.k8 */
static const char certs_script[] =
  "set -e; cd \"$1\"; exec 2>log\n"
  "mkdir -p db; : > db/index; echo 1000 > db/serial\n"
  "cat > ca.cnf <<'E'\n"
  "[ca]\ndefault_ca = c\n[c]\ndatabase = db/index\nserial = db/serial\nnew_certs_dir = db\ndefault_md = sha256\n"
  "policy = p\nunique_subject = no\ncopy_extensions = none\n[p]\ncommonName = supplied\n"
  "[req]\ndistinguished_name = d\nprompt = no\n[d]\nCN = unset\n"
  "E\n"
  "key() { case $2 in ec) openssl ecparam -name prime256v1 -genkey -noout -out $1.key;;\n"
  "  p384) openssl ecparam -name secp384r1 -genkey -noout -out $1.key;; rsa*) openssl genrsa -out $1.key ${2#rsa};;\n"
  "  ed) openssl genpkey -algorithm ed25519 -out $1.key;; esac; }\n"
  "issue() { key $1 $2\n"
  "  printf '%s\\n' \"$6\" | tr ';@' '\\n;' > $1.ext\n"
  "  openssl req -new -config ca.cnf -key $1.key -subj \"/CN=${7:-$1}\" -out $1.csr\n"
  "  if [ $3 = self ]; then by=\"-selfsign -keyfile $1.key\"; else by=\"-cert $3.pem -keyfile $3.key\"; fi\n"
  "  openssl ca -batch -notext -config ca.cnf -in $1.csr $by -startdate $4 -enddate $5 -extfile $1.ext -out $1.pem\n"
  "  openssl x509 -in $1.pem -outform DER -out $1.der\n"
  "  openssl pkcs8 -topk8 -nocrypt -in $1.key -outform DER -out $1.k8; }\n"
  "A=20200101000000Z; Z=20400101000000Z; CA='basicConstraints=critical,CA:TRUE;keyUsage=keyCertSign'\n"
  "issue root ec self $A $Z \"$CA\"\n"
  "issue other ec self $A $Z \"$CA\"\n"
  "issue imposter ec self $A $Z \"$CA\" root\n"
  "issue big p384 self $A $Z \"$CA\"\n"
  "issue rsaroot rsa2048 self $A $Z \"$CA\"\n"
  "issue middle ec root $A $Z \"$CA\"\n"
  "issue middle_expired ec root $A 20210101000000Z \"$CA\"\n"
  "issue not_ca ec root $A $Z 'basicConstraints=CA:FALSE'\n"
  "issue constrained ec root $A $Z \"$CA;nameConstraints=critical,permitted@DNS:good.test\"\n"
  "issue good ec middle $A $Z 'subjectAltName=DNS:good.test,DNS:also.good.test'\n"
  "issue under_expired ec middle_expired $A $Z 'subjectAltName=DNS:good.test'\n"
  "issue under_not_ca ec not_ca $A $Z 'subjectAltName=DNS:good.test'\n"
  "issue under_constrained ec constrained $A $Z 'subjectAltName=DNS:good.test'\n"
  "issue expired ec root $A 20210101000000Z 'subjectAltName=DNS:good.test'\n"
  "issue future ec root 20390101000000Z $Z 'subjectAltName=DNS:good.test'\n"
  "issue wild ec root $A $Z 'subjectAltName=DNS:*.wild.test'\n"
  "issue stranger ec other $A $Z 'subjectAltName=DNS:good.test'\n"
  "issue forged ec imposter $A $Z 'subjectAltName=DNS:good.test'\n"
  "issue self ec self $A $Z 'subjectAltName=DNS:good.test'\n"
  "issue selfca ec self $A $Z 'basicConstraints=critical,CA:TRUE;subjectAltName=DNS:good.test'\n"
  "issue rsa rsa2048 rsaroot $A $Z 'subjectAltName=DNS:good.test'\n"
  "issue weak rsa1024 root $A $Z 'subjectAltName=DNS:good.test'\n"
  "issue under_big ec big $A $Z 'subjectAltName=DNS:good.test'\n"
  "issue common ec root $A $Z 'basicConstraints=CA:FALSE' only.common.test\n"
  "issue client_only ec root $A $Z 'subjectAltName=DNS:good.test;extendedKeyUsage=clientAuth'\n"
  "issue server_use ec root $A $Z 'subjectAltName=DNS:good.test;extendedKeyUsage=clientAuth,serverAuth'\n"
  "issue address ec middle $A $Z 'subjectAltName=DNS:good.test,IP:192.0.2.7,URI:http://192.0.2.9/,IP:2001:db8::7'\n"
  "issue as_name ec middle $A $Z 'subjectAltName=DNS:192.0.2.7' 192.0.2.7\n"
  "issue as_common ec middle $A $Z 'basicConstraints=CA:FALSE' 192.0.2.7\n"
  "issue address_other ec other $A $Z 'subjectAltName=IP:192.0.2.7'\n"
  "issue address_old ec root $A 20210101000000Z 'subjectAltName=IP:192.0.2.7'\n"
  "issue address_client ec root $A $Z 'subjectAltName=IP:192.0.2.7;extendedKeyUsage=clientAuth'\n"
  "issue address_self ec self $A $Z 'subjectAltName=IP:192.0.2.7'\n"
  "issue edwards ed self $A $Z \"$CA\"\n"
  "for i in 1 2 3 4 5 6 7 8 9; do cat other.pem imposter.pem big.pem; done > many.pem; cat root.pem >> many.pem\n"
  "cat root.pem rsaroot.pem big.pem > anchors.pem\n";

static char certs_dir[200];

static inline const char *certs_path(const char *name, const char *suffix) {
  static char path[4][256];
  static unsigned turn;
  char *p = path[turn++ % 4];
  snprintf(p, sizeof path[0], "%s/%s.%s", certs_dir, name, suffix);
  return p;
}

static inline void certs_issue(void) {
  const char *script = certs_path("make", "sh");
  char command[600];
  FILE *f = fopen(script, "w");
  require(f && fputs(certs_script, f) >= 0 && !fclose(f));
  snprintf(command, sizeof command, "sh %s %s || { tail -5 %s/log; false; }", script, certs_dir, certs_dir);
  require(!system(command));
}

static inline bool certs_make(void) {
  const char *shared = getenv("WEIR_CERTS");
  if (system("openssl version >/dev/null 2>&1")) {
    printf("openssl is not there: the tests that need certificates are skipped\n");
    return false;
  }
  snprintf(certs_dir, sizeof certs_dir, "%s", shared ? shared : "/tmp/weir-certs-XXXXXX");
  require(shared ? !mkdir(certs_dir, 0700) || !access(certs_dir, W_OK) : mkdtemp(certs_dir) != NULL);
  int lock = open(certs_path("certs", "lock"), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  require(lock >= 0 && !flock(lock, LOCK_EX));
  if (access(certs_path("anchors", "pem"), R_OK)) certs_issue();         /* the script's last file */
  close(lock);
  return true;
}

static inline void certs_remove(void) {
  char command[300];
  if (!certs_dir[0] || getenv("WEIR_CERTS")) return;
  snprintf(command, sizeof command, "rm -rf %s", certs_dir);
  require(!system(command));
}

static inline struct buf file_bytes(const char *path) {
  struct buf b = { 0 };
  FILE *f = fopen(path, "re");
  require(f);
  size_t n;
  while ((n = fread(buf_reserve(&b, 4096), 1, 4096, f))) buf_commit(&b, n);
  fclose(f);
  return b;
}

static inline struct tls_trust *certs_trust(const char *name) {
  char why[200] = "";
  struct tls_trust *t = tls_trust_load(certs_path(name, "pem"), why, sizeof why);
  if (!t) printf("%s\n", why);
  require(t);
  return t;
}

#endif
