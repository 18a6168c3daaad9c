"""What people look at: reports, pictures, notebooks."""
