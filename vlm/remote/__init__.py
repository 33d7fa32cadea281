"""Other servers as engines: frames go to OpenAI-compatible servers, captions come back.

`engine` owns the event loop, `balancer` chooses a server and retries, `asking` asks one server
until it answers, `client` speaks HTTP. Of a request, `wire` builds the body, `forms` the form of
the answer and `fields` what the server takes. Of an answer, `answer` reads the events, `chunks`
their JSON, `logprobs` their tokens, and `answer_text` lets the text pass that is shown.
`models_list` chooses a model, `failures` names what went wrong.
"""
