"""What a report says: its sections, from the figures of `metrics.json` and the pictures that go with them."""
