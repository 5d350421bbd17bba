"""A Voki to develop against; an independent oracle.

REST, Phoenix channels, an SFU and scripted people on loopback, with faults on demand. It shares nothing
with the product but the wire format of Phoenix messages and the plain values of this package, so that a
mistake of the product cannot agree with itself here. It is no production server.
"""
