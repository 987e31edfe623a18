"""Stage 2: the correctness matrix, what is known of its models and questions, and whether it is sound."""
