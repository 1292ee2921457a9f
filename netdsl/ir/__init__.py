"""What a graph is: dimensions, types, nodes and blocks. Nothing here knows which operations there are."""
