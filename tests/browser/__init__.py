"""Tests in a real Chromium; a package, so that its fixtures end before other folders run."""
