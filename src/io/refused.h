/* refused.h: why a kernel refuses io_uring, in one line that names the switch and the remedy. */
#ifndef WEIR_IO_REFUSED_H
#define WEIR_IO_REFUSED_H

#include <stddef.h>

/* `step` is what was asked for ("setup", "buffers"), `need` the bytes of locked memory the ring wants.
   The text is thread-local and stays until the next call. */
const char *refused_text(const char *step, int error, size_t need);
/* For a kernel that answers but lacks `what`. */
const char *refused_missing(const char *what);

#endif
