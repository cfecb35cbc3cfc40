"""Training with TFF. The only package that imports TensorFlow, and only in a runner process."""
