/* json_long.c: the long ways for every processor. */
#define LONG(name) name##_base
#include "json_long.h"
