"""gRPC as all of Modelyard uses it: channels, servers, the interceptor chain, status and error."""
