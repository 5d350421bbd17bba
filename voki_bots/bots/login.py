"""An account of the platform beside the one of ``[voki]``, whose secrets are in files."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from voki_bots.errors import ConfigurationError


class Login(BaseModel):
    """An account at the platform beside the one of ``[voki]``, which goes on finding the calls."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    email: str = Field(min_length=3, description="the account; never a human's")
    password_file: Path = Field(description="a file that holds its password")
    totp_file: Path | None = Field(default=None, description="a file that holds its TOTP secret, with MFA")
    token_file: Path | None = Field(default=None, description="keeps its refresh token over restarts (0600)")


def secret_in(file: Path, path: str) -> str:
    """Read a secret from a file that holds nothing else.

    Args:
        file: Where it is.
        path: The setting that names it, for the error.

    Raises:
        ConfigurationError: If it cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigurationError(f"{path}: {file} cannot be read: {why}", path=path) from None
