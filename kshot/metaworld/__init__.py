"""Meta-World for its users: states, cameras, multi-task benchmarks, demonstrations (docs/metaworld-users.md)."""
