"""Tree to graph: names resolved, static values computed, blocks instantiated, shapes inferred, all in one walk."""
