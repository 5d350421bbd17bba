"""Every error this package raises.

The tree (each class says on its second line what to do)::

    VokiError
    ├── ConfigurationError              fix the settings                       .path
    │   ├── PluginNotFoundError                                               .name .known
    │   ├── PluginLoadError                                                   .name
    │   └── ModelError                  fetch the model that it names
    ├── SignallingError
    │   ├── ConnectionLostError         retry, with back-off                   .code .reason   retryable
    │   ├── AuthenticationError         renew the token once, then give up     .status
    │   ├── JoinRefusedError            this call is not for us                .topic .reason
    │   ├── ReplyTimeoutError           retry the command                      .event .waited  retryable
    │   └── ProtocolError               a bug, theirs or ours                  .excerpt
    ├── MediaError
    │   ├── NegotiationError            this call cannot be attended           .step
    │   ├── IceError                    check TURN; then retry                 .state          retryable
    │   ├── FileWriteError              the disk; other plugins go on          .path
    │   └── StorageError                the local copy stays; retry                            retryable
    │       └── StorageConflictError    another writer has that call
    ├── SupervisionError                the gate stays closed                  .mode .why
    └── PluginError                     one plugin failed in one call          .plugin

Errors of other libraries are turned into these at the adapter that met them. A message says what was
expected, what came and in which call; it never holds a token or a password.
"""

from __future__ import annotations

from typing import ClassVar


class VokiError(Exception):
    """The root of all errors of this package.

    What to do: see the class that was raised.
    """

    retryable: ClassVar[bool] = False


class ConfigurationError(VokiError):
    """A setting is missing, mistyped or impossible.

    What to do: fix the setting at `path` and start again.
    """

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class PluginNotFoundError(ConfigurationError):
    """No installed package offers a plugin of this name.

    What to do: install the plugin's package, or choose one of `known`.
    """

    def __init__(self, name: str, known: tuple[str, ...], *, path: str = "") -> None:
        listed = ", ".join(known) or "none"
        super().__init__(f"no plugin is called {name!r}; installed: {listed}", path=path)
        self.name = name
        self.known = known


class PluginLoadError(ConfigurationError):
    """A plugin's package is installed, but cannot be imported or is no plugin.

    What to do: read the cause, then repair or remove that package.
    """

    def __init__(self, name: str, why: str, *, path: str = "") -> None:
        super().__init__(f"plugin {name!r} cannot be loaded: {why}", path=path)
        self.name = name


class ModelError(ConfigurationError):
    """A speech model is missing, or is not what the catalogue promises.

    What to do: run the command that the message names.
    """


class SignallingError(VokiError):
    """Something between us and the platform went wrong.

    What to do: see the class that was raised.
    """


class ConnectionLostError(SignallingError):
    """The platform cannot be reached, or the connection ended.

    What to do: retry, with back-off; the socket does so by itself.
    """

    retryable = True

    def __init__(self, message: str, *, code: int | None = None, reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


class AuthenticationError(SignallingError):
    """The platform refused our token, e-mail, password or tenant.

    What to do: renew the token once; if it is refused again, fix the credentials.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class JoinRefusedError(SignallingError):
    """The platform does not let this user into this topic.

    What to do: leave this call alone, or give the bot's user the role it needs.
    """

    def __init__(self, topic: str, reason: str) -> None:
        super().__init__(f"the platform refused to let us join {topic!r}: {reason}")
        self.topic = topic
        self.reason = reason


class ReplyTimeoutError(SignallingError):
    """No reply came in time.

    What to do: retry the command.
    """

    retryable = True

    def __init__(self, event: str, waited: float) -> None:
        super().__init__(f"no reply to {event!r} within {waited:g} s")
        self.event = event
        self.waited = waited


class ProtocolError(SignallingError):
    """Something arrived, or was about to be sent, that the protocol does not allow.

    What to do: report it with `excerpt`; it is a bug, theirs or ours.
    """

    def __init__(self, message: str, *, excerpt: str = "") -> None:
        super().__init__(message)
        self.excerpt = excerpt[:200]


class MediaError(VokiError):
    """Something about audio, video or their files went wrong.

    What to do: see the class that was raised.
    """


class NegotiationError(MediaError):
    """The far end's session description cannot be answered or applied.

    What to do: try once with a new Peer; if it fails again, this call cannot be attended.
    """

    def __init__(self, message: str, *, step: str) -> None:
        super().__init__(message)
        self.step = step


class IceError(MediaError):
    """No path for media was found, or the one we had is gone.

    What to do: check the TURN servers (`voki-bots doctor`), then retry with a new Peer.
    """

    retryable = True

    def __init__(self, message: str, *, state: str) -> None:
        super().__init__(message)
        self.state = state


class FileWriteError(MediaError):
    """A file of a recording cannot be written.

    What to do: look at the disk under `path`; the other plugins go on.
    """

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(message)
        self.path = path


class StorageError(MediaError):
    """A call could not be copied to where calls are kept.

    What to do: retry; nothing is lost, the local copy stays.
    """

    retryable = True


class StorageConflictError(StorageError):
    """Another writer has copied a call of that name; nothing was written over.

    What to do: give one of them another prefix.
    """

    retryable = False


class SupervisionError(VokiError):
    """Speaking into the call is not permitted now.

    What to do: read `why`; the gate stays closed until its conditions hold.
    """

    def __init__(self, message: str, *, mode: str, why: str) -> None:
        super().__init__(message)
        self.mode = mode
        self.why = why


class PluginError(VokiError):
    """One plugin failed in one call and was detached; the call goes on.

    What to do: read the cause and repair that plugin.
    """

    def __init__(self, message: str, *, plugin: str) -> None:
        super().__init__(message)
        self.plugin = plugin
