State in SQLite or PostgreSQL, durable before anything is acknowledged, with group commit.
