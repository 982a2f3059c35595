"""The exchange over HTTP: a post office that keeps signed envelopes for the parties of a roster, and its client.

limits          what one party, one request and one connection may take
credentials     the header that signs a request
office          the envelopes, in a file
refusals        what HTTP status a refusal has
api             the operations
openapi         their description
guard           around every request: names, deadline, log
server          a process that listens
client          the mailbox that talks to it

Only `api`, `guard` and `server` need the optional packages of the extra `service`.
"""
