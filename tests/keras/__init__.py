"""Every public name of Keras, enumerated."""
