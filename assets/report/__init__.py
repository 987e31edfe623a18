"""Stage 5: what people query and read: `warehouse.duckdb` and the report."""
