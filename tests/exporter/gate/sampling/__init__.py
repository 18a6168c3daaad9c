"""What the gate is asked about: samples, their domains and sizes."""
