"""Scripts that make the bundled weights of the small models from the files of public packages."""
