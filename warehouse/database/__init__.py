"""The DuckDB file that users query: `schema.sql` declares it, `publish` writes it, `read` reads it."""
