"""The router as a service: OpenAI's protocol in front, the models' own servers behind (docs/serve.md)."""
