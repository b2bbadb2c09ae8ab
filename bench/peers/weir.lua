listen "127.0.0.1:@PORT@"
admin "127.0.0.1:@ADMIN@"
workers(1)
state "@TMP@/state"
runtime "@TMP@/runtime"
log { access = "off" }
provider "mock" { dialect = "chat", url = "@SCHEME@://localhost:@UPSTREAM@/v1", key = env "BENCH_KEY", @TLS@ }
default_provider "mock"
@USE@
