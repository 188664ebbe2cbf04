"""What the API answers, path by path. Handlers are thin: they read a request, ask a part, show the result."""
