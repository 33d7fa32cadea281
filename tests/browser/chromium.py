"""The flags by which the tests give Chromium a camera and the permission to use it."""

ALLOW_CAMERA = "--use-fake-ui-for-media-stream"
FAKE_CAMERA = "--use-fake-device-for-media-stream"
