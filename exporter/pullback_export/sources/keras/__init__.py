"""Models and layers of Keras, 3 and 2, as sources."""
