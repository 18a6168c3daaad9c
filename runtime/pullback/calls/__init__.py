"""How a call runs: rows of a batch in chunks, sizes that must agree, directions of derivatives, guards."""
