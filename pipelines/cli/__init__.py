"""The command `embedllm`: one file for each thing that a user does."""
