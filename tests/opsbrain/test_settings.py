from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from engine.errors import ConfigError
from opsbrain.secrets import Secret
from opsbrain.settings import Pipeline, Settings
from opsbrain.settings_docs import render_docs
from opsbrain.settings_load import convert_options, load_settings
from opsbrain.wiring import scrubber_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def toml(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "opsbrain.toml"
        path.write_text(dedent(text))
        return path

    return write


def refusal(file: Path | None = None, env: dict[str, str] | None = None, flags: tuple[str, ...] = ()) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(file, env or {}, flags)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_defaults_are_valid_and_those_of_the_tree():
    assert load_settings(None, {}) == Settings()


def test_flags_override_environment_which_overrides_the_file(toml):
    file = toml(
        """
        [pipeline]
        quiet_s = 1
        seed = 1
        shards = 1
        [kafka]
        partitions = 1
        """
    )
    settings = load_settings(
        file, {"OPSBRAIN_PIPELINE__QUIET_S": "2", "OPSBRAIN_PIPELINE__SEED": "2"}, ["pipeline.quiet_s=3"]
    )
    assert (settings.pipeline.quiet_s, settings.pipeline.seed, settings.pipeline.shards) == (3, 2, 1)


def test_other_variables_with_our_prefix_are_none_of_our_business():
    assert load_settings(None, {"OPSBRAIN_DATA": "/x", "OPSBRAIN_CONFIG": "/y", "HOME": "/z"}) == Settings()


def test_text_stays_text_and_lists_are_toml():
    env = {"OPSBRAIN_IDENTITY__SCOPE": "12", "OPSBRAIN_DETECTORS__ENABLED": '["zscore"]'}
    settings = load_settings(None, env, ["detectors.options.zscore.half_life=30", "store.folder=/tmp/true"])
    assert settings.identity.scope == "12"
    assert settings.detectors.enabled == ("zscore",)
    assert settings.detectors.options == {"zscore": {"half_life": 30}}
    assert settings.store.folder == Path("/tmp/true")


def test_an_unknown_key_names_key_file_and_what_was_meant(toml):
    file = toml("[pipeline]\nquiett_s = 1\n")
    assert refusal(file) == f"{file}: unknown key pipeline.quiett_s; did you mean quiet_s?"
    assert "unknown key zzz; known here: detectors, http, identity" in refusal(toml("[zzz]\n"))
    assert refusal(env={"OPSBRAIN_PIPLINE__SEED": "1"}) == (
        "environment OPSBRAIN_PIPLINE__SEED: unknown key pipline; did you mean pipeline?"
    )
    assert refusal(flags=("http.prt=1",)) == "--set http.prt: unknown key http.prt; did you mean port?"


def test_an_unknown_key_inside_a_list_is_found(toml):
    text = refusal(toml("[[notify.webhooks]]\nname='a'\nurl='http://x'\nsecret='whsec_x'\n"))
    assert "unknown key notify.webhooks.0.secret; did you mean secrets?" in text


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("pipeline.shards=0", "pipeline.shards: 0 is out of range, must be from 1 to 4,096"),
        ("pipeline.shards=many", "pipeline.shards: expected `int`, got `str`"),
        ("pipeline.shards=1.5", "pipeline.shards: expected `int`, got `float`"),
        ("pipeline.anomaly_tail_p=nan", "pipeline.anomaly_tail_p: nan is out of range"),
        ("pipeline.shards.x=1", "pipeline.shards is a single value and has no keys"),
        ("pipeline", "--set pipeline: expected SECTION.KEY=VALUE"),
        ("kafka=1", "kafka: expected `object`, got `int`"),
        ("kafka.partitions=65", "kafka.partitions: 65 is more than pipeline.shards (64)"),
        ("kafka.security={'group.id'='x'}", "kafka.security.group.id: not a security key"),
        ("detectors.enabled=['zscore','zscore']", "names a detector twice"),
        ("identity.scope=a/b", "identity.scope: must not be empty nor hold a slash"),
        ("notify.webhooks=[{name='a'}]", "notify.webhooks[0]: object missing required field `url`"),
        (
            "notify.webhooks=[{name='a',url='u'},{name='a',url='u'}]",
            "notify.webhooks[1].name: must be given and unique",
        ),
        ("notify.webhooks=[{name='a',url='u',kinds=['open']}]", "unknown value 'open'; did you mean opened?"),
        ("notify.webhooks=[{name='a',url=3}]", "expected `str`, got `int`"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_it(flag, said):
    assert said in refusal(flags=(flag,))


def test_a_wrong_value_in_a_file_names_the_file(toml):
    file = toml("[http]\nport = 70000\n")
    assert refusal(file) == f"{file}: http.port: 70000 is out of range, must be from 0 to 65,535"


def test_a_file_that_cannot_be_read_is_one_line(tmp_path, toml):
    assert "cannot read settings" in refusal(tmp_path / "none.toml")
    assert "cannot read settings" in refusal(tmp_path)
    assert "not valid TOML" in refusal(toml("[pipeline\n"))
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in refusal(binary)


def test_secrets_are_never_shown(toml):
    file = toml(
        """
        [kafka.security]
        "sasl.password" = "hunter2"
        [[notify.webhooks]]
        name = "a"
        url = "https://hooks.example.com/token-hunter2"
        secrets = ["whsec_hunter2"]
        """
    )
    settings = load_settings(file, {})
    assert "hunter2" not in repr(settings) and "hunter2" not in str(settings)
    assert settings.kafka.security["sasl.password"].reveal("k") == "hunter2"


def test_a_secret_comes_from_environment_or_file(tmp_path, monkeypatch):
    monkeypatch.setenv("HOOK", "from-env")
    path = tmp_path / "secret"
    path.write_text("from-file\nrest\n")
    assert Secret("env:HOOK").reveal("k") == "from-env"
    assert Secret(f"file:{path}").reveal("k") == "from-file"
    assert Secret("https://x").reveal("k") == "https://x"
    for missing in ("env:NOT_THERE", f"file:{tmp_path}/none", f"file:{tmp_path}"):
        with pytest.raises(ConfigError, match=r"^notify\.url: "):
            Secret(missing).reveal("notify.url")
    path.write_text("")
    with pytest.raises(ConfigError, match="is empty"):
        Secret(f"file:{path}").reveal("k")


def test_options_of_a_part_are_converted_as_strictly():
    assert convert_options(Pipeline, {"seed": 3}, "ranker.options") == Pipeline(seed=3)
    with pytest.raises(ConfigError, match=r"unknown key ranker.options.sed; did you mean seed\?"):
        convert_options(Pipeline, {"sed": 3}, "ranker.options")
    with pytest.raises(ConfigError, match=r"ranker.options.seed: expected `int`, got `str`"):
        convert_options(Pipeline, {"seed": "3"}, "ranker.options")


def test_the_page_about_settings_is_current():
    assert (ROOT / "docs" / "settings.md").read_text() == render_docs(), (
        "run: python -m opsbrain.settings_docs > docs/settings.md"
    )


def test_every_key_says_what_it_does():
    assert "|  |\n" not in render_docs()


def test_scrubbing_follows_settings(toml):
    file = toml("[scrub]\noff = ['email']\n[scrub.rules]\nbadge = 'B-[0-9]{4}'\n")
    scrubber = scrubber_of(load_settings(file, {}))
    assert scrubber.text("badge B-1234 of bob@example.com") == "badge <scrubbed> of bob@example.com"
    with pytest.raises(ConfigError, match=r"^scrub\.rules\.x: not in the syntax of Rust's `regex`: unclosed group$"):
        scrubber_of(load_settings(None, {}, ["scrub.rules={x='('}"]))
