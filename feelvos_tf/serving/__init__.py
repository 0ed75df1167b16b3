"""The embedded server: TensorFlow Serving's REST and gRPC, sessions, the page."""
