"""Running the chain on a cluster: through Dagster's queue, whatever launches what is in it."""
