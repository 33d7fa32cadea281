"""Other servers as engines: frames go to OpenAI-compatible servers, captions come back.

`engine` owns the event loop, `balancer` chooses a server and retries, `client` speaks HTTP, `wire`
builds a request's body, `answer` reads the streamed answer, `failures` names what went wrong.
"""
