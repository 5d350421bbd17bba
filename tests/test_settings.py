"""Settings are validated as a whole, and every problem has its path."""

from pathlib import Path

import pytest

from voki_bots.bots.plugin import Plugin, PluginSettings
from voki_bots.bots.registry import Registry
from voki_bots.errors import ConfigurationError
from voki_bots.settings import Settings, credentials_of, load

GOOD = """
[voki]
url = "https://voki.example"
tenant = "acme"
email = "bots@acme.example"

[[bots]]
name = "minutes"
join = { departments = ["support"] }
plugins = ["bell"]

[bots.bell]
times = 2
"""


class BellSettings(PluginSettings):
    times: int = 1


class Bell(Plugin[BellSettings]):
    """Ring."""


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URL", "TENANT", "EMAIL", "PASSWORD", "TOTP_SECRET"):
        monkeypatch.delenv(f"VOKI_{name}", raising=False)


def read(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "bots.toml"
    path.write_text(text)
    return load(path, registry=Registry({"bell": Bell}))


def problems(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, text)
    return [line.removeprefix(f"{tmp_path / 'bots.toml'}: ") for line in str(caught.value).split("\n")]


def test_a_good_file(tmp_path: Path) -> None:
    """A file becomes bots with their plugins made."""
    ((bot, (bell,)),) = read(tmp_path, GOOD).bots
    assert (bot.name, bot.rule.departments, bell.settings) == ("minutes", ("support",), BellSettings(times=2))


def test_every_problem_at_once(tmp_path: Path) -> None:
    """Mistakes in different tables are all reported, each with its path."""
    text = GOOD.replace("times = 2", 'times = "x"').replace('tenant = "acme"', "tenent = 1") + "[servce]\n"
    text = text.replace("departments", "departmens")
    assert problems(tmp_path, text) == [
        "servce: there is no such table; expected archive, bots, consent, probe, service, supervision, voki",
        "voki.tenant: field required; set it in [voki] or as VOKI_TENANT",
        "voki.tenent: there is no such setting",
        "bots.0.join.departmens: there is no such setting",
        "bots.minutes.bell.times: input should be a valid integer, unable to parse string as an integer",
    ]


def test_an_unknown_plugin(tmp_path: Path) -> None:
    """A plugin that is not installed is named, with those that are."""
    (line,) = problems(tmp_path, GOOD.replace('["bell"]', '["bell", "gong"]'))
    assert line.startswith("bots.minutes.plugins: no plugin is called 'gong'; installed: bell")


def test_a_table_of_no_plugin(tmp_path: Path) -> None:
    """A table that belongs to no plugin of the bot is a mistake, not ignored."""
    (line,) = problems(tmp_path, GOOD.replace("[bots.bell]", "[bots.bel]"))
    assert line == "bots.0.bel: neither a setting of a bot nor the name of one of its plugins"


def test_a_secret_in_the_file(tmp_path: Path) -> None:
    """A password in the file is refused, without being repeated."""
    lines = problems(tmp_path, GOOD.replace("[voki]", '[voki]\npassword = "hunter2"'))
    assert lines == ["voki.password: secrets do not belong into this file; set VOKI_PASSWORD"]


def test_a_missing_secret(tmp_path: Path) -> None:
    """Without any password the sentence says both ways to give one."""
    with pytest.raises(ConfigurationError, match="set VOKI_PASSWORD or voki.password_file"):
        read(tmp_path, GOOD).voki.secret()


def test_a_password_file(tmp_path: Path) -> None:
    """A password file holds the password and perhaps a final newline."""
    (tmp_path / "pw").write_text("s3cret\n")
    text = GOOD.replace("[voki]", f'[voki]\npassword_file = "{tmp_path / "pw"}"')
    assert read(tmp_path, text).voki.secret() == "s3cret"


def test_the_environment_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable overrides the file, so that one file serves several installations."""
    monkeypatch.setenv("VOKI_TENANT", "other")
    assert read(tmp_path, GOOD).voki.tenant == "other"


def test_not_toml(tmp_path: Path) -> None:
    """A syntax error names file and place."""
    (line,) = problems(tmp_path, "[voki")
    assert line.startswith("not valid TOML:")


@pytest.mark.parametrize(
    "url", ["voki.example", "ftp://voki.example", "https://u:p@voki.example", "https://"]
)
def test_bad_addresses(tmp_path: Path, url: str) -> None:
    """An address that cannot work is refused with an example of one that can."""
    (line,) = problems(tmp_path, GOOD.replace("https://voki.example", url))
    assert line.startswith("voki.url: must")


def test_no_bot(tmp_path: Path) -> None:
    """A file without a bot says how to write one."""
    (line,) = problems(tmp_path, GOOD.split("[[bots]]")[0])
    assert line == "bots: there is no bot; write a [[bots]] table or make a voki_bots.Bot"


def test_a_bot_may_be_allowed_to_speak(tmp_path: Path) -> None:
    """`speaks` is false unless the table says otherwise, and nothing but true or false."""
    file = tmp_path / "bots.toml"
    voki = '[voki]\nurl = "https://voki.example"\ntenant = "acme"\nemail = "b@acme.example"\n'
    file.write_text(voki + '[[bots]]\nname = "quiet"\n[[bots]]\nname = "greeter"\nspeaks = true\n')
    assert [bot.speaks for bot, _ in load(file).bots] == [False, True]
    file.write_text(voki + '[[bots]]\nname = "greeter"\nspeaks = "yes"\n')
    with pytest.raises(ConfigurationError, match=r"bots\.0\.speaks"):
        load(file)


LOGIN = 'login = { email = "own@acme.example", password_file = "FILE" }\n[bots.bell]'


def test_a_bot_may_attend_as_a_user_of_its_own(tmp_path: Path) -> None:
    """Its password comes from a file of its own; platform and tenant are those of everybody."""
    (tmp_path / "own").write_text("a password of its own\n")
    settings = read(tmp_path, GOOD.replace("[bots.bell]", LOGIN.replace("FILE", str(tmp_path / "own"))))
    own = credentials_of(settings.voki, settings.bots[0][0])
    assert (own.tenant, own.email, own.password()) == ("acme", "own@acme.example", "a password of its own")


def test_a_password_file_that_is_not_there_names_its_bot(tmp_path: Path) -> None:
    """A missing file is told before anybody signs in, with the path of its setting."""
    settings = read(tmp_path, GOOD.replace("[bots.bell]", LOGIN.replace("FILE", str(tmp_path / "none"))))
    with pytest.raises(ConfigurationError, match=r"^bots\.minutes\.login: .*/none cannot be read"):
        credentials_of(settings.voki, settings.bots[0][0])


def test_a_login_without_a_password_file(tmp_path: Path) -> None:
    """It is told with its path, like every mistake of the file."""
    login = 'login = { email = "own@acme.example" }'
    (line,) = problems(tmp_path, GOOD.replace("[bots.bell]", f"{login}\n[bots.bell]"))
    assert line.startswith("bots.0.login.password_file: field required")


def test_the_policy_of_consent_is_that_of_all_bots_without_their_own(tmp_path: Path) -> None:
    """A tenant's policy is said once; a bot may have another."""
    own = '[consent]\npolicy = "ask"\n[[bots]]\nname = "free"\nconsent = { policy = "none" }\n'
    settings = read(tmp_path, GOOD + own)
    assert [bot.consent.policy for bot, _ in settings.bots] == ["ask", "none"]


def test_an_announcement_needs_a_bot_that_speaks(tmp_path: Path) -> None:
    """A policy that a bot cannot meet is told before anything connects."""
    (line,) = problems(tmp_path, GOOD + '[consent]\npolicy = "announce"\nannouncement = "told.wav"\n')
    assert line.startswith("bots.0.consent.announcement: bot 'minutes' cannot play its announcement")


def test_watches_are_read(tmp_path: Path) -> None:
    """A pause must have an end."""
    watch = '\n[[bots.watch]]\non = "SupervisionStarted"\nwhere = { mode = "barge" }\n'
    ((bot, plugins),) = read(tmp_path, f'{GOOD}{watch}until = "SupervisionStopped"\n').bots
    assert [each.actor for each in bot.watch] == ["watch:SupervisionStarted"]
    assert plugins[-1].name == "watch"
    (found,) = problems(tmp_path, GOOD + watch)
    assert found.startswith("bots.0.watch.0:") and "ends" in found
