"""A small network of real IKEv2 peers around an ikeconsole engine, in network namespaces."""
