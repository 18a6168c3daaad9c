"""Each change of TensorFlow or Keras that the exporter makes for a while."""
