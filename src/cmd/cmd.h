/* cmd.h: the commands; one file each. Exit codes: 0 well, 1 refused (configuration, tests, reload), 2 usage or the machine. */
#ifndef WEIR_CMD_H
#define WEIR_CMD_H

#include <stdbool.h>

#include "weir/span.h"

struct buf;
struct conf;
struct ledger_reader;
struct provider;

struct args {
  int count;
  char **words;                       /* behind the command's name */
};
/* Takes "--name VALUE" or "--name=VALUE" out of the words; NULL when absent. */
const char *args_value(struct args *a, const char *name);
bool args_flag(struct args *a, const char *name);
/* True when nothing is left; else says what is not understood. */
bool args_done(const struct args *a, const char *command);

/* Adds the bytes of a file; false: it cannot be opened. */
bool file_read(const char *path, struct buf *out);

int cmd_main(int argc, char **argv);
int cmd_run(struct args *a);
int cmd_check(struct args *a);
/* weir check --system and --providers: 0 good, 1 not. */
int check_system(const char *file);
int check_providers(const char *file);
const char *usage_words(const struct provider *p);       /* "is asked for usage in streams" */
const char *cancel_words(const struct provider *p);      /* "goes on and charges" */
/* What weir check prints of prices: of one model, indented; of all. */
void explain_price(const struct conf *c, const struct provider *p, struct span model);
void check_prices(const struct conf *c);
int cmd_test(struct args *a);
/* Runs x.test.lua beside each policy file x.lua that the configuration uses. */
bool test_policies_of(const struct conf *c, struct buf *errors);
int cmd_compare(struct args *a);
int cmd_reload(struct args *a);
int cmd_upgrade(struct args *a);
int cmd_key(struct args *a);
int cmd_report(struct args *a);
int cmd_why(struct args *a);
/* The ledger of --state, or of the configuration's `state`; *out: that configuration, NULL when it is not needed and does not load.
   NULL: what is wrong was said. */
struct ledger_reader *report_open(const char *config, const char *state, struct conf **out, const char *command);
int cmd_version(struct args *a);

#endif
