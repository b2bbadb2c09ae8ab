-- /etc/weir/weir.lua: all that weir does, from top to bottom. man weir.lua says every word.
-- After a change: weir check --config /etc/weir/weir.lua && systemctl reload weir

listen "127.0.0.1:8080"                     -- applications; off loopback it needs client keys (weir key mint)
admin  "127.0.0.1:9090"                     -- /livez /readyz /metrics

-- Providers. Keys do not stand here: systemd hands them over. `systemctl edit weir`:
--   [Service]
--   LoadCredential=openai:/etc/weir/credentials/openai
-- provider "openai"    { key = credential "openai" }
-- provider "anthropic" { key = credential "anthropic" }
-- provider "lab"       { dialect = "chat", url = "http://127.0.0.1:8000/v1" }

-- Models that clients ask for, and what is tried for them, in this order.
-- model "smart" { "openai/gpt-5", "openai/gpt-5-mini" }

-- Policies, in this order; those that come with weir lie in /usr/share/weir/policies. man weir-policies
-- use "validate" { min_chars = 1 }
