"""What a graph becomes: Python source and modules, TorchScript, `.pt2`, ONNX, diagrams and summaries."""
