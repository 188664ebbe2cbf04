"""The slow path: what the programs leave to Python. `events` reads the ring, `inject` sends frames back."""
