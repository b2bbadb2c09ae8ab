-- The demo: weir before the bundled mock provider. No key, no network.
listen "127.0.0.1:8080"                     -- clients
admin  "127.0.0.1:9090"                     -- /livez /readyz /metrics
workers(1)
state   "./state"
runtime "./runtime"

provider "mock" { dialect = "chat", url = "http://127.0.0.1:9100/v1" }      -- weir-mock, as if it were a model provider
default_provider "mock"

-- An ordered chain: the first one always answers 503 (the mock does so by its name), the second one is well.
model "smart" { "mock/mock-503", "mock/mock" }

-- Policies run in this order; they lie in policies/ beside this file, or come with weir.
use "greeting"
