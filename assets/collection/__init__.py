"""Stage 1: graded answers, asked of models here or imported."""
