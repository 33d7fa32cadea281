"""What the cameras saw, kept in one file on this machine if the person wants that."""
