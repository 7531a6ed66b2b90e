"""Ground floor: the vocabulary, windows, incidents, state and the runners; imports nothing else of ours."""
