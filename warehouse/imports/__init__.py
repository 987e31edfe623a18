"""Results that others collected, read and checked before any of them reaches the lake."""
