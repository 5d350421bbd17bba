"""The numbers of payload types and header extensions in the offers of one connection.

aiortc numbers those of all lines anew in each of its offers. RFC 3264 section 8.3.2 and RFC 8843 section 9.2
forbid that within a bundle, and browsers do not bear it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

Numbers: TypeAlias = dict[str, tuple[str, list[Any], list[Any]]]
"""By mid: the kind of a line, its codecs and its header extensions."""


def numbers(pc: Any) -> Numbers:
    """Return what is negotiated, before an offer is made."""
    return {
        transceiver.mid: (transceiver.kind, transceiver._codecs, transceiver._headerExtensions)
        for transceiver in pc.getTransceivers()
        if transceiver.mid is not None and transceiver._codecs
    }


def keep_numbers(pc: Any, known: Numbers, described: Any) -> None:
    """Let every number in an offer mean what it meant before; new lines take over those of their kind.

    Args:
        pc: Whose offer it is.
        known: What `numbers` returned.
        described: The offer, parsed; it is changed, and `pc` with it.
    """
    likes = {kind: (codecs, extensions) for kind, codecs, extensions in reversed(known.values())}
    lines = {transceiver._get_mline_index(): transceiver for transceiver in pc.getTransceivers()}
    for index, media in enumerate(described.media):
        if media.rtp.muxId in known:
            _, codecs, extensions = known[media.rtp.muxId]
        elif media.kind in likes:
            codecs, extensions = likes[media.kind]
        else:
            continue
        lines[index]._codecs = media.rtp.codecs = list(codecs)
        lines[index]._headerExtensions = media.rtp.headerExtensions = list(extensions)
        media.fmt = [codec.payloadType for codec in codecs]
