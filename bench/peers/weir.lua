listen "127.0.0.1:@PORT@"
admin "127.0.0.1:@ADMIN@"
workers(1)
state "@TMP@/state"
runtime "@TMP@/runtime"
log { access = "off" }
@LEDGER@
provider "mock" { dialect = "chat", url = "@SCHEME@://localhost:@UPSTREAM@/v1", key = env "BENCH_KEY", @TLS@ models = { mock = { price = { input = usd(1), output = usd(4) }, window = 1000000, max_output = 4096 } } }
default_provider "mock"
@USE@
