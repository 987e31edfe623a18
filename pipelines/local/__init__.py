"""Running the chain and the UI on this machine."""
